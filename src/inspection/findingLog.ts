import { hash } from 'node:crypto';
import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import type { Finding, FindingTier } from '../mcp/finding.ts';
import type { Database, Row, Value } from '../store/database.ts';
import type { LeakDecision, LeakDecisions, LeakScope } from './leakDecisions.ts';

/** Findings that are kept. The oldest go, dismissed ones first. */
export const MAX_FINDINGS = 5_000;
/** After so long without one, a finding that was read counts as unread when it happens again, milliseconds. */
export const NEWS_AFTER_MS = 60 * 60_000;
/** How often it is looked whether too many are kept, insertions. */
const PRUNE_EVERY = 100;

/** A finding with where and how often it happened. Repetitions of the same finding are one entry. */
export interface StoredFinding extends Finding {
  readonly id: string;
  readonly server: string;
  readonly tool: string | undefined;
  /** Id of the workspace in which it was last seen. */
  readonly workspace: string | undefined;
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** The exchange in which it was last seen. */
  readonly exchange: string;
  readonly dismissed: boolean;
  readonly unread: boolean;
}

/** Where findings were made. */
export interface FindingPlace {
  readonly server: string;
  readonly tool: string | undefined;
  readonly workspace?: string | undefined;
  readonly exchange: string;
}

/** Which scopes {@link FindingLog.notASecret} takes for a finding. */
export type NotASecretScope = LeakScope['kind'];

/**
 * Keeps findings across windows and restarts: what was found, where, how often, what was done; never the value. Dismissed ones stay
 * dismissed until they are brought back. What changes what is redacted is not in this table but in {@link LeakDecisions}, which is signed.
 */
export class FindingLog implements Disposable {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #decisions: LeakDecisions | undefined;
  readonly #changed = new Emitter<undefined>();
  #added = 0;
  #seenVersion: number;

  /** Fires after findings came, were read, dismissed or brought back; in another window: at the next {@link refresh}. */
  readonly onDidChange = this.#changed.event;
  readonly #addedNow = new Emitter<{ readonly findings: readonly Finding[]; readonly where: FindingPlace }>();

  /** Fires with what one exchange of this window found, as it happens: for what can’t wait to be looked at, such as a canary. */
  readonly onDidAdd = this.#addedNow.event;

  constructor(db: Database, clock: Clock, decisions?: LeakDecisions) {
    this.#db = db;
    this.#clock = clock;
    this.#decisions = decisions;
    this.#seenVersion = db.dataVersion();
  }

  /** Takes in what one exchange found. */
  add(findings: readonly Finding[], where: FindingPlace): void {
    if (findings.length === 0) return;
    const now = this.#clock.now();
    this.#db.transaction(() => {
      for (const f of findings) {
        const parts = [
          where.server,
          where.tool ?? null,
          f.rule,
          f.subject,
          f.direction,
          f.form,
          ...(f.digest === undefined ? [] : [f.digest]),
        ];
        this.#db.run(
          `INSERT INTO finding (id, server, tool, rule, severity, subject, direction, form, action, count, first_at, last_at, exchange, tier, path, digest, workspace)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET unread = CASE WHEN unread = 1 OR excluded.last_at - last_at >= ? OR excluded.action <> action THEN 1 ELSE 0 END,
             count = count + 1, last_at = excluded.last_at, exchange = excluded.exchange, action = excluded.action, severity = excluded.severity,
             path = excluded.path, workspace = excluded.workspace`,
          hash('sha256', JSON.stringify(parts)).slice(0, 32),
          where.server,
          where.tool ?? null,
          f.rule,
          f.severity,
          f.subject,
          f.direction,
          f.form,
          f.action,
          now,
          now,
          where.exchange,
          f.tier ?? null,
          f.path ?? null,
          f.digest ?? null,
          where.workspace ?? null,
          NEWS_AFTER_MS,
        );
      }
      this.#added += findings.length;
      if (this.#added >= PRUNE_EVERY) this.#prune();
    });
    this.#changed.fire(undefined);
    this.#addedNow.fire({ findings, where });
  }

  /** Newest first, at most 1,000. */
  list(options: { readonly dismissed: boolean }): StoredFinding[] {
    return this.#db
      .all('SELECT * FROM finding WHERE dismissed = ? ORDER BY last_at DESC LIMIT 1000', options.dismissed ? 1 : 0)
      .map(findingOf);
  }

  get(id: string): StoredFinding | undefined {
    const row = this.#db.get('SELECT * FROM finding WHERE id = ?', id);
    return row && findingOf(row);
  }

  /** How many that are not dismissed were not read yet: the badge. */
  unread(): number {
    return Number(this.#db.get('SELECT count(*) AS n FROM finding WHERE dismissed = 0 AND unread = 1')?.['n'] ?? 0);
  }

  /** Marks findings as read; without ids, all. */
  markRead(ids?: readonly string[]): void {
    this.#write('unread = 0', ids ?? this.#db.all('SELECT id FROM finding WHERE unread = 1').map((row) => String(row['id'])), 'unread = 1');
  }

  /** Hides a finding, also when it happens again, or brings it back. Changes nothing about what is redacted. */
  setDismissed(id: string, dismissed: boolean): void {
    this.#write(dismissed ? 'dismissed = 1, unread = 0' : 'dismissed = 0', [id]);
  }

  /** Whether “Not a Secret” means anything for a finding: only for what a pattern found. A value of the vault is a secret until it is forgotten there. */
  canBeHarmless(finding: StoredFinding): boolean {
    return this.#decisions !== undefined && finding.digest !== undefined && isPattern(finding.tier);
  }

  /**
   * **Not a Secret**: this very value, as far as the scope reaches, is not redacted, asked about or told any more; what is there of it is
   * hidden. Returns the decision, to be given to {@link undo}; `undefined` if the finding is not of that sort, or the scope has nothing
   * to hold on to (no workspace). Throws StoreError.
   */
  notASecret(id: string, scope: NotASecretScope): LeakDecision | undefined {
    const finding = this.get(id);
    if (!finding || !this.#decisions || !this.canBeHarmless(finding) || finding.digest === undefined) return undefined;
    const { server, tool, workspace } = finding;
    if (scope === 'workspace' && workspace === undefined) return undefined;
    const decision = this.#decisions.notASecret(
      finding.rule,
      finding.digest,
      scope === 'rule'
        ? { kind: 'rule' }
        : scope === 'tool'
          ? { kind: 'tool', server, ...(tool === undefined ? {} : { tool }) }
          : { kind: 'workspace', workspace: workspace ?? '' },
    );
    this.#write('dismissed = 1, unread = 0', this.#covered(decision));
    return decision;
  }

  /** Takes a “Not a Secret” or an answer about outgoing values back; what it hid is shown again. */
  undo(decision: string): void {
    const known = this.#decisions?.get(decision);
    if (!known) return;
    this.#decisions?.remove(decision);
    this.#write('dismissed = 0', this.#covered(known));
  }

  /** What the user decided, newest first: for a list of what can be undone. */
  decisions(): readonly LeakDecision[] {
    return this.#decisions?.list() ?? [];
  }

  /** Notices what other windows wrote. */
  refresh(): void {
    const version = this.#db.dataVersion();
    if (version === this.#seenVersion) return;
    this.#seenVersion = version;
    this.#changed.fire(undefined);
  }

  dispose(): void {
    this.#changed.dispose();
    this.#addedNow.dispose();
  }

  /** Findings that a “Not a Secret” is about. */
  #covered(decision: LeakDecision): string[] {
    if (decision.verdict !== 'not-a-secret') return [];
    const { rule, digest, scope } = decision;
    return this.#db
      .all('SELECT * FROM finding WHERE digest = ? AND rule = ?', digest, rule)
      .map(findingOf)
      .filter((f) =>
        scope.kind === 'rule'
          ? true
          : scope.kind === 'tool'
            ? f.server === scope.server && f.tool === scope.tool
            : f.workspace === scope.workspace,
      )
      .map(({ id }) => id);
  }

  #write(set: string, ids: readonly string[], only = '1 = 1'): void {
    if (ids.length === 0) return;
    this.#db.transaction(() => {
      for (const id of ids) this.#db.run(`UPDATE finding SET ${set} WHERE id = ? AND ${only}`, id);
    });
    this.#changed.fire(undefined);
  }

  #prune(): void {
    this.#added = 0;
    const count = Number(this.#db.get('SELECT count(*) AS n FROM finding')?.['n'] ?? 0);
    if (count <= MAX_FINDINGS) return;
    const excess: Value = count - MAX_FINDINGS;
    this.#db.run('DELETE FROM finding WHERE id IN (SELECT id FROM finding ORDER BY dismissed DESC, last_at LIMIT ?)', excess);
  }
}

function isPattern(tier: FindingTier | undefined): boolean {
  return tier === 'exact' || tier === 'structured' || tier === 'generic';
}

function findingOf(row: Row): StoredFinding {
  const text = (column: string) => String(row[column]);
  const optional = (column: string) => (row[column] === null || row[column] === undefined ? undefined : text(column));
  const [tier, path, digest] = [optional('tier'), optional('path'), optional('digest')];
  return {
    id: text('id'),
    server: text('server'),
    tool: optional('tool'),
    workspace: optional('workspace'),
    rule: text('rule'),
    severity: text('severity') as Finding['severity'],
    subject: text('subject'),
    direction: text('direction') as Finding['direction'],
    form: text('form'),
    action: text('action') as Finding['action'],
    ...(tier === undefined ? {} : { tier: tier as FindingTier }),
    ...(path === undefined ? {} : { path }),
    ...(digest === undefined ? {} : { digest }),
    count: Number(row['count']),
    firstAt: Number(row['first_at']),
    lastAt: Number(row['last_at']),
    exchange: text('exchange'),
    dismissed: row['dismissed'] === 1,
    unread: row['unread'] === 1,
  };
}
