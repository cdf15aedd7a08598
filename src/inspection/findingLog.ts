import { hash } from 'node:crypto';
import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import type { Finding } from '../mcp/finding.ts';
import type { Database, Row } from '../store/database.ts';

/** A finding with where and how often it happened. Repetitions of the same finding are one entry. */
export interface StoredFinding extends Finding {
  readonly id: string;
  readonly server: string;
  readonly tool: string | undefined;
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** The exchange in which it was last seen. */
  readonly exchange: string;
  readonly dismissed: boolean;
}

/** Keeps findings across windows and restarts. Dismissed ones stay dismissed until they are brought back. */
export class FindingLog implements Disposable {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #changed = new Emitter<undefined>();

  readonly onDidChange = this.#changed.event;

  constructor(db: Database, clock: Clock) {
    this.#db = db;
    this.#clock = clock;
  }

  add(
    findings: readonly Finding[],
    where: { readonly server: string; readonly tool: string | undefined; readonly exchange: string },
  ): void {
    if (findings.length === 0) return;
    const now = this.#clock.now();
    this.#db.transaction(() => {
      for (const f of findings) {
        const id = hash('sha256', JSON.stringify([where.server, where.tool ?? null, f.rule, f.subject, f.direction, f.form])).slice(0, 32);
        this.#db.run(
          `INSERT INTO finding (id, server, tool, rule, severity, subject, direction, form, action, count, first_at, last_at, exchange) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET count = count + 1, last_at = excluded.last_at, exchange = excluded.exchange, action = excluded.action, severity = excluded.severity`,
          id,
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
        );
      }
    });
    this.#changed.fire(undefined);
  }

  /** Newest first. */
  list(options: { readonly dismissed: boolean }): StoredFinding[] {
    return this.#db
      .all('SELECT * FROM finding WHERE dismissed = ? ORDER BY last_at DESC LIMIT 1000', options.dismissed ? 1 : 0)
      .map(findingOf);
  }

  setDismissed(id: string, dismissed: boolean): void {
    this.#db.run('UPDATE finding SET dismissed = ? WHERE id = ?', dismissed ? 1 : 0, id);
    this.#changed.fire(undefined);
  }

  dispose(): void {
    this.#changed.dispose();
  }
}

function findingOf(row: Row): StoredFinding {
  const text = (column: string) => String(row[column]);
  return {
    id: text('id'),
    server: text('server'),
    tool: row['tool'] === null ? undefined : text('tool'),
    rule: text('rule'),
    severity: text('severity') as Finding['severity'],
    subject: text('subject'),
    direction: text('direction') as Finding['direction'],
    form: text('form'),
    action: text('action') as Finding['action'],
    count: Number(row['count']),
    firstAt: Number(row['first_at']),
    lastAt: Number(row['last_at']),
    exchange: text('exchange'),
    dismissed: row['dismissed'] === 1,
  };
}
