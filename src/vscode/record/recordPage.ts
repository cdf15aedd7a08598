import type { Entry, Intent, Outcome } from '../../audit/record.ts';
import { visible } from '../../common/text.ts';
import { stateOf } from '../views/activityRows.ts';

/** Something that a place in the document leads to. */
export type RecordTarget =
  | { readonly kind: 'server'; readonly id: string }
  | { readonly kind: 'grant'; readonly id: string; readonly server: string }
  | { readonly kind: 'credential'; readonly id: string; readonly name: string }
  | { readonly kind: 'task'; readonly id: string }
  | { readonly kind: 'exchange'; readonly id: string };

/** A link in the document: line and columns from 0, the last column excluded. */
export interface RecordLink {
  readonly line: number;
  readonly from: number;
  readonly to: number;
  readonly target: RecordTarget;
  readonly tooltip: string;
}

/** A record as it is read: text, and what is known of its places. */
export interface RecordPage {
  readonly text: string;
  readonly links: readonly RecordLink[];
  /** First and last line of each section. */
  readonly sections: readonly { readonly from: number; readonly to: number }[];
  /** The call's intent; absent if the record has none of it. */
  readonly intent: Intent | undefined;
  /** Whether the end is still to come. */
  readonly open: boolean;
}

/** What the record itself does not say. */
export interface RecordSurroundings {
  readonly taskName?: (id: string) => string | undefined;
  readonly grantWords?: (id: string) => string | undefined;
  readonly credentialId?: (name: string) => string | undefined;
  /** The call that continues this one. */
  readonly continuedBy?: string | undefined;
  /** Leaves out what is in arguments and result, and where it was: for showing to others. */
  readonly onlyShapes?: boolean;
}

/** Columns that the names of fields take. */
const NAME_COLUMNS = 16;
/** Longest value of a field, characters. */
const MAX_VALUE = 2_000;
const LEFT_OUT = '‹left out›';

/**
 * The record of one call for reading: a title, sections, fields. Whatever an agent or server chose stays on its own line behind the name of
 * its field, hidden characters visible, so that it can't pass for something else.
 */
export function recordPage(entries: readonly Entry[], around: RecordSurroundings = {}): RecordPage {
  const intentEntry = entries.find(({ kind }) => kind === 'intent');
  const outcomeEntry = entries.find(({ kind }) => kind === 'outcome');
  const intent = intentEntry?.body as Intent | undefined;
  const outcome = outcomeEntry?.body as Outcome | undefined;
  if (!intentEntry || !intent)
    return { text: 'The record holds nothing about this call.\n', links: [], sections: [], intent: undefined, open: false };
  const page = new Page();
  const [, , words] = stateOf({ intent, outcome });
  page.line(`# ${visible(intent.tool ?? intent.method, 120)} of ${visible(intent.serverLabel, 120)}: ${words}`);
  aboutCall(page, intent, intentEntry, around);
  aboutAgent(page, intent, around);
  aboutDecision(page, intent, around);
  aboutCredentials(page, intent, around);
  content(page, 'Arguments', intent.arguments, intent.argumentsDigest, around);
  if (outcome) {
    aboutOutcome(page, outcome);
    content(page, 'Result', outcome.resultText, outcome.resultDigest, around);
    aboutTime(page, outcome);
  } else page.section('Outcome', () => page.line('  Not finished, or its end could not be written.'));
  if (intent.continues !== undefined || around.continuedBy !== undefined)
    page.section('Neighbours', () => {
      for (const [name, id] of [
        ['continues', intent.continues],
        ['continued by', around.continuedBy],
      ] as const)
        if (id !== undefined) page.field(name, id, { target: { kind: 'exchange', id }, tooltip: 'Show the record of that call' });
    });
  page.section('Chain', () => {
    for (const { kind, chain, n, at } of entries) page.field(kind, `${chain}, entry ${n}, ${new Date(at).toISOString()}`);
  });
  return { text: page.text(), links: page.links, sections: page.sections, intent, open: !outcome && intent.effect === 'allow' };
}

function aboutCall(page: Page, intent: Intent, { at, exchange }: Entry, around: RecordSurroundings): void {
  const { task } = intent;
  page.section('Call', () => {
    page.field('time', localTime(at));
    page.field('method', intent.method);
    page.field('tool', intent.tool);
    page.field('server', intent.serverLabel, { target: { kind: 'server', id: intent.server }, tooltip: 'Show the server in Grants' });
    page.field('origin', intent.origin);
    page.field('protocol', [intent.protocol, `${intent.era} era`].filter((part) => part !== undefined).join(', '));
    if (task !== undefined)
      page.field('task', around.taskName?.(task) ?? task, { target: { kind: 'task', id: task }, tooltip: 'Say what the task was' });
    page.field('workspace', around.onlyShapes === true && intent.workspace !== undefined ? LEFT_OUT : intent.workspace);
    page.field('exchange', exchange);
    page.field('request id', intent.rpcId);
    page.field('session', intent.session);
    page.field('sent', bytes(intent.requestBytes));
  });
}

function aboutAgent(page: Page, { client, window, claims }: Intent, around: RecordSurroundings): void {
  page.section('Agent', () => {
    page.field('client', client === 'vscode' ? 'VS Code' : 'an agent outside the editor');
    page.field('window', window);
    page.field('name', claims['clientName'], undefined, ' (as it says)');
    page.field('version', claims['clientVersion'], undefined, ' (as it says)');
    const conversation = claims['conversationId'];
    page.field(
      'conversation',
      conversation !== undefined && around.onlyShapes === true ? LEFT_OUT : conversation,
      undefined,
      ' (as it says)',
    );
    page.field('trace', claims['traceparent']);
  });
}

function aboutDecision(page: Page, intent: Intent, around: RecordSurroundings): void {
  const grant = intent.grant ?? (intent.decidedBy.startsWith('grant') ? intent.decidedBy : undefined);
  page.section('Decision', () => {
    page.field('effect', intent.effect);
    if (grant === undefined) page.field('decided by', intent.decidedBy);
    else {
      const said = around.grantWords?.(grant);
      page.field(
        'decided by',
        `grant ${grant}`,
        { target: { kind: 'grant', id: grant, server: intent.server }, tooltip: 'Show the grant' },
        said === undefined ? '' : ` (${visible(said, 200)})`,
      );
    }
    page.field('reason', intent.reason);
    page.field('approver', intent.approver);
    page.field('policy digest', intent.policyDigest);
  });
}

function aboutCredentials(page: Page, { credentials, credentialUse }: Intent, around: RecordSurroundings): void {
  if (credentials.length === 0) return;
  page.section('Credentials', () => {
    for (const [at, words] of credentials.entries()) {
      const name = credentialUse?.[at]?.name ?? words.replace(/ \(revision [^()]*\)$/, '');
      const id = credentialUse?.[at]?.id ?? around.credentialId?.(name);
      const shown = visible(words, 200);
      page.line(`  ${shown}`);
      if (id !== undefined) page.link(2, 2 + shown.length, { kind: 'credential', id, name }, 'Show the credential');
    }
  });
}

function aboutOutcome(page: Page, outcome: Outcome): void {
  page.section('Outcome', () => {
    page.field('result', outcome.result);
    page.field('status', outcome.status);
    page.field('code', outcome.rpcCode);
    page.field('error', outcome.error);
    if (outcome.inputRequired === true) page.field('more input', 'wanted');
    page.field('received', bytes(outcome.responseBytes));
    page.field('findings', outcome.findings);
    for (const { rule, action } of outcome.found ?? []) page.line(`    ${visible(rule, 200)}: ${visible(action, 60)}`);
  });
}

function aboutTime(page: Page, { totalMs, decisionMs, upstreamMs, stages }: Outcome): void {
  const names = {
    parse: 'parse',
    authenticate: 'authenticate',
    authorize: 'authorize',
    record: 'record',
    inspectOut: 'inspect out',
    credentials: 'credentials',
    upstream: 'upstream',
    inspectIn: 'inspect in',
  } as const;
  page.section('Latency', () => {
    page.field('total', ms(totalMs));
    if (!stages) {
      page.field('decision', ms(decisionMs));
      if (upstreamMs !== undefined) page.field('upstream', ms(upstreamMs));
      return;
    }
    for (const [stage, name] of Object.entries(names)) {
      const time = stages[stage as keyof typeof names];
      if (time !== undefined) page.field(name, ms(time));
    }
  });
}

/** Arguments or a result: JSON line by line where it is JSON, else as it is. */
function content(
  page: Page,
  title: string,
  text: string | undefined,
  digest: string | undefined,
  { onlyShapes }: RecordSurroundings,
): void {
  if (text === undefined && digest === undefined) return;
  page.section(title, () => {
    page.field('digest', digest);
    if (text === undefined) return;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      page.line(`    ${onlyShapes === true ? String(shapeOf(text)) : visible(text)}`);
      return;
    }
    for (const line of JSON.stringify(onlyShapes === true ? shapeOf(value) : value, undefined, 2).split('\n'))
      page.line(`    ${visible(line)}`);
  });
}

/** What something is like, without what it says. Names of members stay. */
export function shapeOf(value: unknown): unknown {
  if (typeof value === 'string') {
    const { length } = Array.from(value);
    return `‹text, ${length} ${length === 1 ? 'character' : 'characters'}›`;
  }
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, shapeOf(part)]));
  return value === null ? null : `‹${typeof value}›`;
}

class Page {
  readonly links: RecordLink[] = [];
  readonly sections: { readonly from: number; readonly to: number }[] = [];
  readonly #lines: string[] = [];

  line(text: string): void {
    this.#lines.push(text);
  }

  section(title: string, write: () => void): void {
    this.#lines.push('', title);
    const from = this.#lines.length - 1;
    write();
    if (this.#lines.length - 1 === from) this.#lines.splice(from - 1);
    else this.sections.push({ from, to: this.#lines.length - 1 });
  }

  field(
    name: string,
    value: string | number | undefined,
    link?: { readonly target: RecordTarget; readonly tooltip: string },
    note = '',
  ): void {
    if (value === undefined || value === '') return;
    const begin = `  ${name.padEnd(NAME_COLUMNS - 2)}`;
    const shown = visible(String(value), MAX_VALUE);
    this.line(`${begin}${shown}${note}`);
    if (link) this.link(begin.length, begin.length + shown.length, link.target, link.tooltip);
  }

  /** Makes a part of the last line lead somewhere. */
  link(from: number, to: number, target: RecordTarget, tooltip: string): void {
    this.links.push({ line: this.#lines.length - 1, from, to, target, tooltip });
  }

  text(): string {
    return `${this.#lines.join('\n')}\n`;
  }
}

function bytes(count: number): string {
  return count < 10_000
    ? `${count} bytes`
    : count < 1_000_000
      ? `${(count / 1_000).toFixed(1)} kB`
      : `${(count / 1_000_000).toFixed(1)} MB`;
}

function ms(time: number): string {
  return time < 10_000 ? `${time} ms` : `${(time / 1_000).toFixed(1)} s`;
}

/** Local time with its distance from UTC. */
function localTime(at: number): string {
  const date = new Date(at);
  const offset = -date.getTimezoneOffset();
  const two = (n: number) => String(Math.floor(Math.abs(n))).padStart(2, '0');
  const shifted = new Date(at + offset * 60_000).toISOString().replace('Z', '').replace('T', ' ');
  return `${shifted} ${offset < 0 ? '-' : '+'}${two(offset / 60)}:${two(offset % 60)}`;
}
