import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { newId } from '../common/identifiers.ts';
import type { Decision } from '../mcp/decision.ts';
import type { Principal } from '../mcp/principal.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';
import { z } from 'zod';
import { decide, type Call, type Policy } from './decide.ts';
import { Grant, isLive, type Target } from './grant.ts';

const PauseState = z.strictObject({ id: z.literal('pause'), version: z.literal(1), paused: z.boolean(), at: z.number().int() });

/** Grants older than this beyond their expiry are removed from the database, milliseconds. Until then they explain a denial. */
const KEEP_EXPIRED_MS = 24 * 60 * 60 * 1000;

/** How the user wants a new server to start. */
export type StartingAccess = 'nothing' | 'reading' | 'ask' | 'everything';

/** A grant as it is asked for: everything but what the store adds. */
export type NewGrant = Omit<Grant, 'version' | 'id' | 'createdAt'>;

/** Grants and the pause, in the database, shared by all windows. */
export class Access implements Disposable {
  readonly #grants: SignedCollection<Grant>;
  readonly #state: SignedCollection<z.infer<typeof PauseState>>;
  readonly #clock: Clock;
  readonly #changed = new Emitter<undefined>();
  readonly #expired = new Emitter<undefined>();
  readonly #acted = new Emitter<{ readonly given: readonly Grant[]; readonly revoked: readonly Grant[] }>();
  readonly #subscriptions: Disposable[];
  #watchedExpiry: number | undefined;
  #byServer: { readonly rows: ReadonlyMap<string, Grant>; readonly index: ReadonlyMap<string, readonly Grant[]> } | undefined;

  /** Fires when grants or the pause changed, in this window at once, in another at the next look (see {@link refresh}). */
  readonly onDidChange = this.#changed.event;

  /** Fires when a grant has come to its end. Calls that it let through run on; only new ones are concerned. */
  readonly onDidExpire = this.#expired.event;

  /** Fires when this window gave or revoked grants. */
  readonly onDidAct = this.#acted.event;

  constructor(db: Database, key: MacKey, generations: Generations, clock: Clock) {
    this.#grants = new SignedCollection(db, 'grant', Grant, key, generations);
    this.#state = new SignedCollection(db, 'access-state', PauseState, key, generations);
    this.#clock = clock;
    this.#subscriptions = [this.#grants, this.#state].map((c) => c.onDidChange(() => this.#changed.fire(undefined)));
  }

  /** Decides a call by what is stored now. Throws StoreError if the database can't be read; the caller denies. */
  decide(principal: Principal, call: Call): Decision {
    const decision = decide(principal, call, this.forServer(call.server), this.policy(), this.#clock.now());
    // A denial that somebody removed from the database must not let a wider grant through: until the user has looked, grants only ask.
    if (decision.effect !== 'allow' || decision.by.kind !== 'grant' || this.#grants.tampering().length === 0) return decision;
    return {
      ...decision,
      effect: 'ask',
      reason: 'Stored grants were changed by something other than Culvert, so every call asks until the user has reviewed that.',
    };
  }

  policy(): Policy {
    const state = this.#state.rows().get('pause');
    // A pause row that was tampered with counts as a pause: deny on doubt.
    return { paused: state?.paused ?? this.#state.tampering().length > 0 };
  }

  /** Grants of one server, expired ones included. */
  forServer(server: string): readonly Grant[] {
    const rows = this.#grants.rows();
    if (this.#byServer?.rows !== rows) {
      const index = new Map<string, Grant[]>();
      for (const grant of rows.values()) {
        const list = index.get(grant.server);
        if (list) list.push(grant);
        else index.set(grant.server, [grant]);
      }
      this.#byServer = { rows, index };
    }
    return this.#byServer.index.get(server) ?? [];
  }

  all(): readonly Grant[] {
    return [...this.#grants.rows().values()];
  }

  /** Gives a grant. It replaces those of the same target and scope, so that repeating an answer leaves one row. */
  give(grant: NewGrant): Grant {
    return this.#exchange([grant], (old, row) => supersedes(row, old) && sameScope(old, row))[0] as Grant;
  }

  /** Gives grants and withdraws those they replace, in one write: no window ever sees the one without the other. */
  #exchange(grants: readonly NewGrant[], replaces: (old: Grant, row: Grant) => boolean): Grant[] {
    const now = this.#clock.now();
    const rows = grants.map((grant): Grant => ({ version: 1, id: newId('grant'), createdAt: now, ...grant }));
    const revoked = this.all().filter(
      (old) => rows.some((row) => replaces(old, row)) || (old.expiresAt !== undefined && old.expiresAt < now - KEEP_EXPIRED_MS),
    );
    this.#grants.write(
      rows,
      revoked.map((g) => g.id),
    );
    this.#acted.fire({ given: rows, revoked });
    return rows;
  }

  /** Withdraws grants by id. */
  revoke(ids: readonly string[]): void {
    const revoked = this.all().filter((g) => ids.includes(g.id));
    if (revoked.length === 0) return;
    this.#grants.write(
      [],
      revoked.map((g) => g.id),
    );
    this.#acted.fire({ given: [], revoked });
  }

  /**
   * Sets what one tool (or the resources or prompts) of a server is from now on, everywhere: takes away every grant that names just
   * that, and gives one with the wanted effect.
   */
  set(server: string, target: Target, effect: Grant['effect'], givenBy: Grant['givenBy'], expiresAt?: number): Grant {
    const grant: NewGrant = { server, target, effect, scope: {}, givenBy, ...(expiresAt === undefined ? {} : { expiresAt }) };
    return this.#exchange([grant], (old, row) => supersedes(row, old))[0] as Grant;
  }

  /** Gives the grants with which a server starts. */
  start(server: string, access: StartingAccess, givenBy: Grant['givenBy']): void {
    const grant = (kind: 'all-tools' | 'reading-tools' | 'resources' | 'prompts' | 'completion', effect: Grant['effect']): NewGrant => ({
      server,
      target: { kind },
      effect,
      scope: {},
      givenBy,
    });
    if (access === 'nothing') {
      this.revokeServer(server);
      return;
    }
    const rest = access === 'ask' ? 'ask' : 'allow';
    this.#exchange(
      [
        access === 'reading' ? grant('reading-tools', 'allow') : grant('all-tools', access === 'everything' ? 'allow' : 'ask'),
        grant('resources', rest),
        grant('prompts', rest),
        grant('completion', 'allow'),
      ],
      (old) => old.server === server,
    );
  }

  /** Takes away everything that was granted for a server. */
  revokeServer(server: string): void {
    this.revoke(this.forServer(server).map((g) => g.id));
  }

  setPaused(paused: boolean): void {
    this.#state.write([{ id: 'pause', version: 1, paused, at: this.#clock.now() }]);
  }

  /** Notices what other windows changed and what expired, and fires the events for it. */
  refresh(): void {
    this.#grants.refresh();
    this.#state.refresh();
    if (this.#watchedExpiry !== undefined && this.#watchedExpiry <= this.#clock.now()) this.#expired.fire(undefined);
    this.#watchedExpiry = this.nextExpiry();
  }

  /** The next instant at which a grant expires, milliseconds since the epoch. */
  nextExpiry(): number | undefined {
    const now = this.#clock.now();
    const times = this.all().flatMap((g) => (g.expiresAt !== undefined && isLive(g, now) ? [g.expiresAt] : []));
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  tampering(): readonly Tampering[] {
    return [...this.#grants.tampering(), ...this.#state.tampering()];
  }

  /** Forgets rows that something else changed; they count as absent already. */
  forgetTampering(): void {
    this.#grants.forgetTampering();
    this.#state.forgetTampering();
  }

  dispose(): void {
    for (const s of this.#subscriptions) s.dispose();
    this.#changed.dispose();
    this.#expired.dispose();
    this.#acted.dispose();
  }
}

/**
 * True if `row` takes the place of `old`. A permission for a while does not take away a lasting “ask”: when it ends, the user is
 * asked again instead of whatever a wider grant says.
 */
function supersedes(row: Grant, old: Grant): boolean {
  if (old.server !== row.server || !sameTarget(old.target, row.target)) return false;
  return !(row.expiresAt !== undefined && row.effect === 'allow' && old.effect === 'ask' && old.expiresAt === undefined);
}

function sameTarget(a: Target, b: Target): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sameScope(a: Grant, b: Grant): boolean {
  return a.scope.client === b.scope.client && a.scope.window === b.scope.window && a.scope.workspace === b.scope.workspace;
}
