import { isUtf8 } from 'node:buffer';
import type { Finding } from '../mcp/finding.ts';
import type { LeakDecisions, LeakPlace } from './leakDecisions.ts';
import { DEFAULT_LEAK_POLICY, leakAction, type LeakAction, type LeakPolicy } from './leakPolicy.ts';
import type { OutputSchema } from './outputSchemas.ts';
import { isCanary } from './canaryId.ts';
import { LastHeaders } from './lastHeaders.ts';
import { Findings, NOT_COMPLETE, both, type Described } from './messageFindings.ts';
import { redact, unescaped, type Removal } from './redaction.ts';
import { Search, type Found, type Hit, type Part, type Wanted } from './search.ts';
import { INCOMING, type SecretSearch } from './secretSearch.ts';

export { redactionMark } from './marks.ts';

/** What inspection made of a piece of content. */
export interface Inspected {
  /** The same bytes if nothing was found. */
  readonly bytes: Buffer;
  readonly findings: readonly Finding[];
  /** True if nothing of it may pass: `bytes` then is only a mark, and no message. */
  readonly blocked?: boolean;
  /** Whether hidden text was taken out. What it kept apart stands together now: a token that no rule saw may have come to be. */
  readonly stripped?: boolean;
}

/** Where something passes, and how. */
export interface Passing extends LeakPlace {
  readonly serverLabel: string;
  /** What the tool promises of its structured results. */
  readonly schema?: OutputSchema | undefined;
  /** What the agent gets in place of a secret that may be handed to another tool; `undefined`: the usual mark. `id`: of a known one. */
  readonly standIn?: ((value: string, id: string | undefined) => string | undefined) | undefined;
}

/** What an {@link Inspector} works with. */
export interface InspectorOptions {
  readonly secrets: SecretSearch;
  /** Name of a secret by its id, for marks and findings. */
  readonly nameOf: (id: string) => string;
  readonly policy?: () => LeakPolicy;
  readonly decisions?: LeakDecisions | undefined;
}

/** What of a request must not go to a server without a word. */
export interface Outgoing {
  /** Secrets that belong elsewhere: they stop the call. */
  readonly foreign: readonly Finding[];
  /** Values that look like secrets: the user is asked about them. */
  readonly doubtful: readonly Finding[];
  /** What is only told. */
  readonly reported: readonly Finding[];
}

const NONE: readonly Finding[] = [];
/** For showing and recording: nobody’s policy lets anything through there. */
const ANYWHERE: Passing = { server: '', serverLabel: '', tool: undefined, workspace: undefined };
const SECRETS: Wanted = { hidden: false };
/** Header texts that are remembered as clean, and the longest of them, characters. */
const MAX_CLEAN = 256;
const MAX_CLEAN_CHARACTERS = 4_096;

/**
 * Members of messages that only servers read: they come back as they went out. A handle that looks like a token is none of the model’s
 * business, and changed it would be good for nothing. Values of the vault are taken out of them all the same.
 */
const HANDLES = new Set(
  [
    ['id'],
    ['result', 'nextCursor'],
    ['result', 'requestState'],
    ['result', 'taskId'],
    ['result', 'task', 'taskId'],
    ['params', 'cursor'],
    ['params', 'requestState'],
    ['params', 'taskId'],
    ['params', 'requestId'],
    ['params', 'progressToken'],
    ['params', '_meta', 'progressToken'],
    ['params', '_meta', 'traceparent'],
  ].map((path) => path.join('/')),
);

/** Looks at everything that passes and takes out what must not. */
export class Inspector {
  readonly #options: InspectorOptions;
  readonly #search: Search;
  /** Texts that hold nothing of what is searched for in version {@link #cleanFor}. */
  readonly #clean = new Set<string>();
  #cleanFor = -1;
  readonly #lastHeaders = new LastHeaders();

  constructor(options: InspectorOptions) {
    this.#options = options;
    this.#search = new Search(options.secrets.detectors);
  }

  /** One JSON message on its way to the agent: what must not pass becomes a mark, in any string, key or number. */
  message(bytes: Buffer, where: Passing = ANYWHERE): Inspected {
    return this.settle(bytes, this.#search.message(bytes, where === ANYWHERE ? SECRETS : INCOMING), where);
  }

  /** The same, once the rules are loaded, and in a thread where the message is large or many come at a time: never holds this thread for long. */
  look(bytes: Buffer, where: Passing): Inspected | Promise<Inspected> {
    const { secrets } = this.#options;
    const loading = secrets.ready();
    if (secrets.goesAside(bytes.length)) return this.#lookAtLarge(bytes, where);
    if (loading) return loading.then(() => this.message(bytes, where));
    // Where something is found it is searched once more, here: what is taken out is looked at again before it passes.
    return (
      secrets.along(bytes)?.then((found) => (found.hits.length === 0 ? this.settle(bytes, found, where) : this.message(bytes, where))) ??
      this.message(bytes, where)
    );
  }

  async #lookAtLarge(bytes: Buffer, where: Passing): Promise<Inspected> {
    const { secrets } = this.#options;
    const first = this.settle(bytes, await secrets.large(bytes, INCOMING), where, false);
    if (first.bytes === bytes || first.blocked === true) return first;
    const again = await secrets.large(first.bytes, SECRETS);
    const left = again.hits.filter(({ kind }) => kind === 'known');
    if (first.stripped !== true) return left.length === 0 ? first : { ...first, bytes: this.#withoutWhole(first.bytes, left, where) };
    const uncovered = again.hits.filter((hit) => hit.kind === 'pattern' && this.#actionFor(hit, where) !== 'off');
    if (left.length === 0) return both(first, this.settle(first.bytes, { ...again, hits: uncovered }, where, false));
    const goes = uncovered.filter((hit) => this.#actionFor(hit, where) !== 'warn');
    return { ...first, bytes: this.#withoutWhole(first.bytes, [...left, ...goes], where) };
  }

  /** Content that is no JSON (an error page, a stray line): marks in place. */
  text(bytes: Buffer, where: Passing = ANYWHERE): Inspected {
    return this.settle(bytes, this.#search.text(bytes, where === ANYWHERE ? SECRETS : INCOMING), where);
  }

  /** What is done about what a search found in `bytes`. */
  settle(bytes: Buffer, found: Found, where: Passing, verify = true): Inspected {
    if (found.hits.length === 0 && found.complete && found.tooDeep !== true) return { bytes, findings: NONE };
    if (found.tooDeep === true) return { ...blockedBy('message nested too deep to be checked'), findings: NONE };
    const findings = new Findings('to-agent');
    if (!found.complete) findings.add(NOT_COMPLETE, 'reported');
    const removals: Removal[] = [];
    let blockedFor: string | undefined;
    for (const hit of found.hits) {
      const action = this.#actionFor(hit, where);
      if (action === 'off') continue;
      const does = action === 'warn' ? 'reported' : action === 'block' ? 'blocked' : hit.kind === 'hidden' ? 'stripped' : 'redacted';
      findings.add(this.#describe(hit), does, this.#shown(hit.parts[0]?.path));
      if (action === 'block') blockedFor ??= this.#nameFor(hit);
      if (action !== 'redact') continue;
      const mark = standInFor(hit, bytes, where);
      removals.push({ parts: hit.parts, name: hit.kind === 'hidden' ? '' : this.#nameFor(hit), ...(mark === undefined ? {} : { mark }) });
    }
    if (blockedFor !== undefined) return { ...blockedBy(`${blockedFor}: blocked`), findings: findings.list() };
    if (removals.length === 0) return { bytes, findings: findings.list() };
    const out = this.#withoutAll(bytes, removals, where, verify && found.hits.some(({ kind }) => kind === 'known'));
    if (!out) return { ...blockedBy('a secret that can’t be taken out'), findings: findings.list() };
    const first: Inspected = { bytes: out, findings: findings.list(), stripped: removals.some(({ name }) => name === '') };
    if (!verify || first.stripped !== true) return first;
    const isText = removals.some(({ parts }) => parts[0]?.kind === 'text');
    return both(first, this.settle(out, isText ? this.#search.text(out, SECRETS) : this.#search.message(out, SECRETS), where));
  }

  /** Values of headers on their way to the agent. */
  headers(
    headers: Readonly<Record<string, string | string[]>>,
    where: Passing = ANYWHERE,
  ): {
    readonly headers: Readonly<Record<string, string | string[]>>;
    readonly findings: readonly Finding[];
  } {
    const { version } = this.#options.secrets;
    if (this.#lastHeaders.are(headers, version)) return { headers, findings: NONE };
    let all = '';
    for (const name in headers) all += `${name}: ${String(headers[name])}\n`;
    const bytes = () => Buffer.from(all, 'latin1');
    if (this.#isCleanText('h', all, () => this.#search.text(bytes(), SECRETS).hits.length === 0)) {
      if (this.#clean.has(`h${all}`)) this.#lastHeaders.keep(headers, version);
      return { headers, findings: NONE };
    }
    const findings = new Findings('to-agent');
    const clean = (name: string, value: string) => {
      const text = `${name}: ${value}`;
      // What the protocol sets is a handle, and opaque by design; secrets of the vault are taken out of it too.
      const hits = this.#search
        .text(Buffer.from(text, 'latin1'), SECRETS)
        .hits.filter((hit) => hit.kind === 'known' || !name.startsWith('mcp-'));
      let out = value;
      for (const hit of hits) {
        const action = this.#actionFor(hit, where);
        if (action === 'off') continue;
        findings.add(this.#describe(hit), action === 'warn' ? 'reported' : 'redacted', ['headers', name]);
        if (action !== 'warn') out = '[culvert: redacted]';
      }
      return out;
    };
    const out: Record<string, string | string[]> = {};
    for (const [name, value] of Object.entries(headers))
      out[name] = Array.isArray(value) ? value.map((item) => clean(name, item)) : clean(name, value);
    return { headers: out, findings: findings.list() };
  }

  /**
   * A message on its way to a server, and the text beside it (header values): what of it must not go there. `foreign` tells by id which
   * secrets belong elsewhere.
   */
  outgoing(bytes: Buffer, beside: string, foreign: (id: string) => boolean, where: Passing = ANYWHERE): Outgoing {
    const stranger = this.#strangers(foreign);
    return this.#settleOutgoing(
      this.#search.message(bytes, SECRETS),
      [...this.#search.message(bytes, stranger).hits, ...this.#knownBeside(beside, stranger)],
      where,
    );
  }

  /** The secrets that belong elsewhere are searched for by themselves: one that is in the server’s own, or beside it, counts too. */
  #strangers(foreign: (id: string) => boolean): Wanted {
    return { hidden: false, only: this.#options.secrets.ids.filter(foreign) };
  }

  #settleOutgoing({ hits, complete, tooDeep }: Found, strange: readonly Hit[], where: Passing): Outgoing {
    const stopped = new Findings('to-server');
    const doubtful = new Findings('to-server');
    const reported = new Findings('to-server');
    if (!complete || tooDeep === true) reported.add(NOT_COMPLETE, 'reported');
    for (const hit of strange)
      stopped.add(this.#describe(hit), 'blocked', hit.parts[0]?.kind === 'text' ? ['headers'] : this.#shown(hit.parts[0]?.path));
    for (const hit of hits) {
      if (hit.kind === 'known') continue;
      const path = this.#shown(hit.parts[0]?.path);
      const action = this.#actionFor(hit, where);
      if (action === 'off') continue;
      if (action === 'warn') reported.add(this.#describe(hit), 'reported', path);
      else (action === 'block' ? stopped : doubtful).add(this.#describe(hit), 'blocked', path);
    }
    return { foreign: stopped.list(), doubtful: doubtful.list(), reported: reported.list() };
  }

  /** Whether neither a message nor the texts beside it hold a secret, of whatever origin. */
  isClean(bytes: Buffer, beside: string): boolean {
    return holdsNone(this.#search.message(bytes, SECRETS)) && this.#isCleanBeside(beside);
  }

  #isCleanBeside(beside: string): boolean {
    return this.#isCleanText('b', beside, () => this.#knownBeside(beside).length === 0);
  }

  /** Headers are the same from call to call: what was found clean is remembered for as long as the same is searched for. */
  #isCleanText(kind: string, text: string, isClean: () => boolean): boolean {
    const { secrets } = this.#options;
    if (secrets.version !== this.#cleanFor || this.#clean.size >= MAX_CLEAN) {
      this.#clean.clear();
      this.#cleanFor = secrets.version;
    }
    const key = kind + text;
    if (this.#clean.has(key)) return true;
    const clean = isClean();
    if (clean && key.length <= MAX_CLEAN_CHARACTERS && secrets.ready() === undefined) this.#clean.add(key);
    return clean;
  }

  /** The same for a large message: does not hold this thread. */
  async isCleanSoon(bytes: Buffer, beside: string): Promise<boolean> {
    return holdsNone(await this.#options.secrets.large(bytes, SECRETS)) && this.#isCleanBeside(beside);
  }

  /** What of a large message must not go to a server: like {@link outgoing}. */
  async outgoingSoon(bytes: Buffer, beside: string, foreign: (id: string) => boolean, where: Passing): Promise<Outgoing> {
    const { secrets } = this.#options;
    const stranger = this.#strangers(foreign);
    const [all, strange] = [await secrets.large(bytes, SECRETS), await secrets.large(bytes, stranger)];
    return this.#settleOutgoing(all, [...strange.hits, ...this.#knownBeside(beside, stranger)], where);
  }

  /** The same text with every secret replaced, for showing and recording. */
  redactForDisplay(text: string): string {
    const bytes = Buffer.from(text, 'utf8');
    return isUtf8(bytes) ? this.message(bytes).bytes.toString('utf8') : '';
  }

  /** The same plain data with every secret replaced in its texts: an agent can put one into a name as well as into arguments. */
  redactPlain<T>(data: T): T {
    const bytes = Buffer.from(JSON.stringify(data), 'utf8');
    const inspected = this.message(bytes);
    if (inspected.bytes === bytes) return data;
    if (inspected.blocked === true) throw new Error('The record of this call would hold a secret that can’t be taken out.');
    return JSON.parse(inspected.bytes.toString('utf8')) as T;
  }

  /** Redacts, and looks again: where something of a known secret is left, the strings that hold it go as a whole. `undefined`: not even then. */
  #withoutAll(bytes: Buffer, removals: readonly Removal[], where: Passing, verify: boolean): Buffer | undefined {
    const out = redact(bytes, removals, where.schema);
    const left = verify ? this.#knownIn(out) : [];
    if (left.length === 0) return out;
    const again = this.#withoutWhole(out, left, where);
    return this.#knownIn(again).length === 0 ? again : undefined;
  }

  #withoutWhole(bytes: Buffer, hits: readonly Hit[], { schema }: Passing): Buffer {
    const removals = hits.map((hit) => ({ parts: hit.parts, name: this.#nameFor(hit) }));
    return redact(bytes, removals, schema, true);
  }

  /** Headers hold handles that look like tokens by design: only what the vault knows counts in them. */
  #knownBeside(beside: string, wanted: Wanted = { hidden: false, only: this.#options.secrets.ids }): readonly Hit[] {
    return this.#search.text(Buffer.from(beside, 'utf8'), wanted).hits;
  }

  #knownIn(bytes: Buffer): readonly Hit[] {
    return this.#search.message(bytes, SECRETS).hits.filter(({ kind }) => kind === 'known');
  }

  #actionFor(hit: Hit, where: Passing): LeakAction {
    const policy = this.#options.policy?.() ?? DEFAULT_LEAK_POLICY;
    const internal = where === ANYWHERE;
    if (hit.kind === 'known' || hit.kind === 'hidden')
      return leakAction(internal ? DEFAULT_LEAK_POLICY : policy, where.serverLabel, hit.tier);
    if (internal) return DEFAULT_LEAK_POLICY.tiers[hit.tier];
    const action = leakAction(policy, where.serverLabel, hit.tier);
    if (action === 'off' || policy.ignoredRules.has(hit.id) || hit.parts.every(isHandle)) return 'off';
    const { decisions } = this.#options;
    return decisions?.isHarmless(hit.id, decisions.digestOf(hit.value), where) === true ? 'off' : action;
  }

  /** A path without secrets: keys are data too. */
  #shown(path: readonly (string | number)[] | undefined): readonly (string | number)[] | undefined {
    return path?.map((step) =>
      typeof step === 'string' && step.length >= MIN_KEY_BYTES ? this.text(Buffer.from(step, 'utf8')).bytes.toString('utf8') : step,
    );
  }

  #nameFor(hit: Hit): string {
    // A trap that is seen to be one is none.
    if (hit.kind === 'known') return isCanary(hit.id) ? 'secret' : this.#options.nameOf(hit.id);
    return hit.id;
  }

  #describe(hit: Hit): Described {
    const { decisions, nameOf } = this.#options;
    switch (hit.kind) {
      case 'known':
        return isCanary(hit.id)
          ? { rule: 'canary', severity: 'high', subject: nameOf(hit.id), form: hit.form, tier: 'canary' }
          : { rule: 'known-secret', severity: 'high', subject: nameOf(hit.id), form: hit.form, tier: 'known' };
      case 'hidden':
        return {
          rule: 'hidden-text',
          severity: SPEAKING.has(hit.id) ? 'medium' : 'low',
          subject: hit.title,
          form: hit.form,
          tier: 'hidden',
        };
      case 'pattern':
        return {
          rule: hit.id,
          severity: hit.tier === 'exact' ? 'high' : hit.tier === 'structured' ? 'medium' : 'low',
          subject: hit.title,
          form: hit.form,
          tier: hit.tier,
          ...(decisions ? { digest: decisions.digestOf(hit.value) } : {}),
        };
    }
  }
}

/** Kinds of hidden text that can speak to a model. */
const SPEAKING: ReadonlySet<string> = new Set(['tag characters', 'variation selectors', 'direction controls']);

/** Keys that could hold a secret, bytes. */
const MIN_KEY_BYTES = 8;
/** Whether nothing was found that a record must not hold. */
function holdsNone({ hits, tooDeep }: Found): boolean {
  return tooDeep !== true && hits.every((hit) => hit.tier === 'generic' || (hit.kind === 'pattern' && hit.parts.every(isHandle)));
}

/** Only what lies whole in one text can be put back as it was. */
function standInFor({ kind, id, parts: [part, ...more] }: Hit, bytes: Buffer, { standIn }: Passing): string | undefined {
  if (!standIn || kind === 'hidden' || more.length > 0 || (part?.kind !== 'string' && part?.kind !== 'text')) return undefined;
  const value = part.kind === 'text' ? bytes.toString('utf8', part.start, part.end) : unescaped(bytes, part.start, part.end);
  return standIn(value, kind === 'known' ? id : undefined);
}

function isHandle({ kind, path }: Part): boolean {
  return kind !== 'key' && HANDLES.has(path.join('/'));
}

function blockedBy(what: string): Pick<Inspected, 'bytes' | 'blocked'> {
  return { bytes: Buffer.from(JSON.stringify(`⟦culvert: ${what}⟧`), 'utf8'), blocked: true };
}
