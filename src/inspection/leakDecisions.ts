import * as z from 'zod';
import { Emitter, type Disposable, type Event } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { newId } from '../common/identifiers.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';

/** Most decisions that are kept; one more is refused with a word to the user. */
export const MAX_DECISIONS = 5_000;
/** Longest value of which a digest is made, bytes; longer ones are told apart by their beginning. */
const MAX_DIGESTED_BYTES = 16_384;

/** How far a “Not a Secret” reaches. The value is always told by its digest: no scope makes another value harmless. */
export const LeakScope = z.discriminatedUnion('kind', [
  /** This value as this rule finds it, on every server. */
  z.strictObject({ kind: z.literal('rule') }),
  /** This value in what passes to and from one tool; without a tool: what of the server is no tool call. */
  z.strictObject({ kind: z.literal('tool'), server: z.string(), tool: z.string().optional() }),
  /** This value while one workspace is open. */
  z.strictObject({ kind: z.literal('workspace'), workspace: z.string(), workspaceName: z.string().optional() }),
]);
export type LeakScope = z.infer<typeof LeakScope>;

/** Something the user decided about leaks. Plain data, stored with a MAC; holds no secret. */
export const LeakDecision = z.discriminatedUnion('verdict', [
  /** A value that a pattern rule found is none. */
  z.strictObject({
    version: z.literal(1),
    id: z.string(),
    verdict: z.literal('not-a-secret'),
    rule: z.string(),
    /** {@link Finding.digest} */
    digest: z.string().regex(/^[0-9a-f]{64}$/),
    scope: LeakScope,
    createdAt: z.number().int(),
  }),
  /** What of one kind an agent puts into calls of one tool: it may leave, or must never, without a question. */
  z.strictObject({
    version: z.literal(1),
    id: z.string(),
    verdict: z.enum(['may-leave', 'must-stay']),
    rule: z.string(),
    server: z.string(),
    /** Absent: what of the server is no tool call. */
    tool: z.string().optional(),
    createdAt: z.number().int(),
  }),
]);
export type LeakDecision = z.infer<typeof LeakDecision>;
/** What becomes of values of a kind in calls of a tool. */
export type OutgoingDecision = Extract<LeakDecision, { readonly verdict: 'may-leave' | 'must-stay' }>;

/** Where something passes. */
export interface LeakPlace {
  readonly server: string;
  readonly tool: string | undefined;
  readonly workspace: string | undefined;
}

/**
 * What the user decided about leaks, in all windows. Each row is signed: one that something else wrote counts as absent, so that nobody
 * switches redaction off from outside.
 */
export class LeakDecisions implements Disposable {
  readonly #collection: SignedCollection<LeakDecision>;
  readonly #key: MacKey;
  readonly #clock: Clock;
  /** By digest. */
  #harmless: ReadonlyMap<string, readonly LeakDecision[]> = new Map();
  /** By rule, server and tool. */
  #outgoing: ReadonlyMap<string, 'may-leave' | 'must-stay'> = new Map();
  #indexed: ReadonlyMap<string, LeakDecision> | undefined;

  readonly onDidChange: Event<undefined>;
  readonly #answered = new Emitter<OutgoingDecision>();

  /** Fires with what was decided in this window about values that leave, for the record. */
  readonly onDidAnswer = this.#answered.event;

  constructor(db: Database, key: MacKey, generations: Generations, clock: Clock) {
    this.#collection = new SignedCollection<LeakDecision>(db, 'leak-decisions', LeakDecision, key, generations);
    this.#key = key;
    this.#clock = clock;
    this.onDidChange = this.#collection.onDidChange;
  }

  /** Digest of a value, for {@link Finding.digest}: useless to whoever does not have the store’s key. */
  digestOf(value: string): string {
    return this.#key.mac('leak-value', value.slice(0, MAX_DIGESTED_BYTES));
  }

  /** All decisions, newest first. */
  list(): readonly LeakDecision[] {
    return [...this.#collection.rows().values()].sort((a, b) => b.createdAt - a.createdAt);
  }

  get(id: string): LeakDecision | undefined {
    return this.#collection.rows().get(id);
  }

  /** Whether the user said that a value is no secret there. */
  isHarmless(rule: string, digest: string, where: LeakPlace): boolean {
    this.#refreshIndex();
    return (this.#harmless.get(digest) ?? []).some((d) => d.verdict === 'not-a-secret' && d.rule === rule && reaches(d.scope, where));
  }

  /** What the user decided about values of a kind in calls of a tool; `undefined`: has to be asked. */
  outgoing(rule: string, { server, tool }: Pick<LeakPlace, 'server' | 'tool'>): 'may-leave' | 'must-stay' | undefined {
    this.#refreshIndex();
    return this.#outgoing.get(outgoingKey(rule, server, tool));
  }

  /** Remembers that a value is no secret. Returns the decision, for {@link remove}. Throws StoreError. */
  notASecret(rule: string, digest: string, scope: LeakScope): LeakDecision {
    const same = this.list().find(
      (d) => d.verdict === 'not-a-secret' && d.rule === rule && d.digest === digest && JSON.stringify(d.scope) === JSON.stringify(scope),
    );
    return same ?? this.#add({ version: 1, id: newId('leak'), verdict: 'not-a-secret', rule, digest, scope, createdAt: this.#clock.now() });
  }

  /** Remembers what becomes of values of a kind in calls of a tool; takes the place of what was decided before. Throws StoreError. */
  setOutgoing(rule: string, { server, tool }: Pick<LeakPlace, 'server' | 'tool'>, verdict: 'may-leave' | 'must-stay'): LeakDecision {
    const key = outgoingKey(rule, server, tool);
    const old = this.list().filter((d) => d.verdict !== 'not-a-secret' && outgoingKey(d.rule, d.server, d.tool) === key);
    const decision: LeakDecision = {
      version: 1,
      id: newId('leak'),
      verdict,
      rule,
      server,
      ...(tool === undefined ? {} : { tool }),
      createdAt: this.#clock.now(),
    };
    return this.#add(
      decision,
      old.map(({ id }) => id),
    );
  }

  /** Takes decisions back. */
  remove(...ids: readonly string[]): void {
    const known = ids.filter((id) => this.#collection.rows().has(id));
    if (known.length > 0) this.#collection.write([], known);
  }

  /** Forgets what was decided about a server that is removed. */
  forgetServer(server: string): void {
    this.remove(
      ...this.list()
        .filter((d) => (d.verdict === 'not-a-secret' ? d.scope.kind === 'tool' && d.scope.server === server : d.server === server))
        .map(({ id }) => id),
    );
  }

  refresh(): void {
    this.#collection.refresh();
  }

  tampering(): readonly Tampering[] {
    return this.#collection.tampering();
  }

  /** Forgets rows that something else changed; they count as absent already. */
  forgetTampering(): void {
    this.#collection.forgetTampering();
  }

  dispose(): void {
    this.#harmless = new Map();
    this.#outgoing = new Map();
    this.#answered.dispose();
  }

  #add(decision: LeakDecision, replaced: readonly string[] = []): LeakDecision {
    if (this.#collection.rows().size >= MAX_DECISIONS)
      throw new RangeError(`${MAX_DECISIONS} decisions about leaks are stored already. Take some back first.`);
    this.#collection.write([decision], replaced);
    if (decision.verdict !== 'not-a-secret') this.#answered.fire(decision);
    return decision;
  }

  #refreshIndex(): void {
    const rows = this.#collection.rows(REFRESH_AGE_MS);
    if (rows === this.#indexed) return;
    this.#indexed = rows;
    const harmless = new Map<string, LeakDecision[]>();
    const outgoing = new Map<string, 'may-leave' | 'must-stay'>();
    for (const decision of rows.values()) {
      if (decision.verdict === 'not-a-secret') {
        const list = harmless.get(decision.digest);
        if (list) list.push(decision);
        else harmless.set(decision.digest, [decision]);
        continue;
      }
      const key = outgoingKey(decision.rule, decision.server, decision.tool);
      // Of two that contradict each other, the careful one.
      if (outgoing.get(key) !== 'must-stay') outgoing.set(key, decision.verdict);
    }
    this.#harmless = harmless;
    this.#outgoing = outgoing;
  }
}

/** A decision of another window may be this late, milliseconds. */
const REFRESH_AGE_MS = 100;

function reaches(scope: LeakScope, where: LeakPlace): boolean {
  switch (scope.kind) {
    case 'rule':
      return true;
    case 'tool':
      return scope.server === where.server && scope.tool === where.tool;
    case 'workspace':
      return scope.workspace === where.workspace;
  }
}

function outgoingKey(rule: string, server: string, tool: string | undefined): string {
  return JSON.stringify([rule, server, tool ?? null]);
}
