import * as z from 'zod';
import { Stop } from '../../common/stop.ts';
import { Emitter, type Disposable } from '../../common/disposable.ts';
import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Database, Row } from '../../store/database.ts';
import type { AuditLog } from '../auditLog.ts';
import { entryOf, type Act, type Entry, type Intent, type Outcome } from '../record.ts';
import type { AuditEvent } from './event.ts';
import type { Sink } from './sink.ts';

/** How a delivery stands. */
export interface SinkStatus {
  readonly sink: string;
  readonly state: 'idle' | 'sending' | 'waiting' | 'elsewhere' | 'stopped';
  /** Entries of the record that were not delivered yet. */
  readonly behind: number;
  /** Events that were delivered in all. */
  readonly sent: number;
  /** Milliseconds since the epoch. */
  readonly lastSentAt: number | undefined;
  readonly lastError: string | undefined;
  /** When it is tried again, milliseconds since the epoch. */
  readonly nextTryAt: number | undefined;
}

/** Entries that are read for one delivery. */
const BATCH_ENTRIES = 500;
/** Entries wait so long for company, milliseconds. */
const GATHER_MS = 1_000;
/** How often what other windows wrote is looked for, milliseconds. */
const LOOK_MS = 5_000;
/** Pause after the first failure and the longest one, milliseconds. In between it doubles. */
const BACK_OFF_MS = { first: 1_000, longest: 5 * 60_000 };
/** A window that delivers has the sink to itself for so long at a time, milliseconds. Longer than any delivery may take. */
const LEASE_MS = 60_000;
/** Longest that a delivery may take, milliseconds. */
const DELIVERY_MS = 30_000;
/** A call without an outcome is delivered as such after so long, milliseconds, or once its window has closed. */
const OPEN_MS = 24 * 60 * 60_000;
/** Calls that may be without an outcome at a time; the oldest are delivered as such beyond that. */
const MAX_OPEN = 5_000;

/** Calls that began before the cursor and have not ended: exchange, and `seq` and time of the intent. */
const OpenCalls = z.array(z.tuple([z.string(), z.number(), z.number()]));

/**
 * Delivers the record to a sink while it grows. The table of the record is the spool: where the delivery stands is kept in the database, so
 * that it goes on after an outage, a restart, and in another window. Whatever a sink does, no call waits for it.
 */
export class Stream implements Disposable {
  readonly #db: Database;
  readonly #log: AuditLog;
  readonly #sink: Sink;
  readonly #clock: Clock;
  readonly #changed = new Emitter<SinkStatus>();
  readonly #subscription: Disposable;
  readonly #stop = new Stop();
  #timer: Disposable | undefined;
  #dueAt = Infinity;
  #working: Promise<void> | undefined;
  #failures = 0;
  #state: SinkStatus['state'] = 'idle';
  #nextTryAt: number | undefined;

  readonly onDidChange = this.#changed.event;

  /** A sink that was never delivered to begins at `from`: with what comes now, or with all that is there. */
  constructor(db: Database, log: AuditLog, sink: Sink, clock: Clock, options: { readonly from?: 'now' | 'start' } = {}) {
    this.#db = db;
    this.#log = log;
    this.#sink = sink;
    this.#clock = clock;
    const from = options.from === 'start' ? 0 : this.#newest();
    this.#db.run("INSERT OR IGNORE INTO export_cursor (sink, seq, open) VALUES (?, ?, '[]')", sink.id, from);
    this.#subscription = log.onDidAppend(() => this.#at(GATHER_MS));
    this.#at(0);
  }

  get status(): SinkStatus {
    const row = this.#cursor();
    const error = row['error'];
    return {
      sink: this.#sink.id,
      state: this.#state,
      behind: Math.max(0, this.#newest() - Number(row['seq'])),
      sent: Number(row['sent']),
      lastSentAt: row['sent_at'] === null ? undefined : Number(row['sent_at']),
      lastError: typeof error === 'string' ? error : undefined,
      nextTryAt: this.#nextTryAt,
    };
  }

  /** Time of the oldest entry that was not delivered yet, milliseconds since the epoch. */
  get behindSince(): number | undefined {
    const row = this.#db.get('SELECT at FROM audit WHERE seq > ? ORDER BY seq LIMIT 1', Number(this.#cursor()['seq']));
    return row && Number(row['at']);
  }

  /** Delivers now what is there, without waiting for the end of a pause. Resolves when it is done or has failed. */
  async flush(): Promise<void> {
    await this.#working;
    await this.#run();
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#timer?.dispose();
    this.#stop.abort();
    this.#state = 'stopped';
    try {
      this.#db.run('UPDATE export_cursor SET lease_until = 0 WHERE sink = ? AND owner = ?', this.#sink.id, this.#log.chain);
    } catch {
      // It runs out by itself.
    }
    this.#sink.close();
    this.#changed.dispose();
  }

  #newest(): number {
    return Number(this.#db.get('SELECT max(seq) AS seq FROM audit')?.['seq'] ?? 0);
  }

  #cursor(): Row {
    return (
      this.#db.get('SELECT seq, open, sent, sent_at, error FROM export_cursor WHERE sink = ?', this.#sink.id) ?? { seq: 0, open: '[]' }
    );
  }

  /** Sees to it that something is done in so many milliseconds at the latest; a pause after a failure is kept. */
  #at(ms: number): void {
    const due = this.#clock.monotonic() + ms;
    if (this.#stop.aborted || this.#working || due >= this.#dueAt) return;
    if (this.#nextTryAt !== undefined && this.#timer) return;
    this.#timer?.dispose();
    this.#dueAt = due;
    this.#timer = this.#clock.after(ms, () => {
      this.#dueAt = Infinity;
      this.#timer = undefined;
      void this.#run();
    });
  }

  #run(): Promise<void> {
    if (this.#working || this.#stop.aborted) return this.#working ?? Promise.resolve();
    this.#working = this.#deliverAll()
      .then(
        () => {
          this.#failures = 0;
          this.#nextTryAt = undefined;
          return LOOK_MS;
        },
        (error: unknown) => this.#failed(error),
      )
      .then((pause) => {
        this.#working = undefined;
        if (this.#stop.aborted) return;
        this.#dueAt = Infinity;
        this.#timer?.dispose();
        this.#timer = undefined;
        const due = this.#clock.monotonic() + pause;
        this.#dueAt = due;
        this.#timer = this.#clock.after(pause, () => {
          this.#dueAt = Infinity;
          this.#timer = undefined;
          this.#nextTryAt = undefined;
          void this.#run();
        });
        this.#changed.fire(this.status);
      });
    return this.#working;
  }

  #failed(error: unknown): number {
    this.#failures++;
    this.#state = 'waiting';
    const longest = Math.min(BACK_OFF_MS.longest, BACK_OFF_MS.first * 2 ** (this.#failures - 1));
    // Windows and machines that failed together don't come back together.
    const pause = Math.round(longest * (0.5 + Math.random() / 2));
    this.#nextTryAt = this.#clock.now() + pause;
    try {
      this.#db.run('UPDATE export_cursor SET error = ? WHERE sink = ?', messageOf(error).slice(0, 500), this.#sink.id);
    } catch {
      // The database is what failed.
    }
    return pause;
  }

  async #deliverAll(): Promise<void> {
    try {
      this.#log.flush();
    } catch {
      // It is not on the record yet.
    }
    while (!this.#stop.aborted) {
      if (!this.#lease()) {
        this.#state = 'elsewhere';
        return;
      }
      const cursor = this.#cursor();
      // A record that is shorter than what was delivered is another one, or an older copy: what it has more from now on is delivered.
      const from = Math.min(Number(cursor['seq']), this.#newest());
      const { events, upTo, open } = this.#read(from, String(cursor['open']));
      if (upTo === from && events.length === 0) {
        this.#state = 'idle';
        return;
      }
      if (events.length > 0) {
        this.#state = 'sending';
        await this.#deliver(events);
      }
      this.#db.run(
        'UPDATE export_cursor SET seq = ?, open = ?, sent = sent + ?, sent_at = ?, error = NULL WHERE sink = ?',
        upTo,
        open,
        events.length,
        this.#clock.now(),
        this.#sink.id,
      );
    }
  }

  async #deliver(events: readonly AuditEvent[]): Promise<void> {
    const end = new Stop();
    const timer = this.#clock.after(DELIVERY_MS, () => end.abort());
    const stop = () => end.abort();
    this.#stop.addEventListener('abort', stop);
    try {
      await this.#sink.deliver(events, end.signal);
    } finally {
      timer.dispose();
      this.#stop.removeEventListener('abort', stop);
    }
  }

  /** Windows share sinks: one of them delivers. */
  #lease(): boolean {
    const now = this.#clock.now();
    return (
      this.#db.run(
        'UPDATE export_cursor SET owner = ?, lease_until = ? WHERE sink = ? AND (owner IS NULL OR owner = ? OR lease_until < ? OR lease_until > ?)',
        this.#log.chain,
        now + LEASE_MS,
        this.#sink.id,
        this.#log.chain,
        now,
        // A clock that was set back must not keep it for ever.
        now + 2 * LEASE_MS,
      ).changes === 1
    );
  }

  #read(from: number, openText: string): { readonly events: AuditEvent[]; readonly upTo: number; readonly open: string } {
    const open = new Map<string, readonly [seq: number, at: number]>();
    const parsed = OpenCalls.safeParse(parse(openText));
    for (const [exchange, seq, at] of parsed.data ?? []) open.set(exchange, [seq, at]);
    const events: AuditEvent[] = [];
    const closed = new Set<string>();
    let upTo = from;
    for (const row of this.#db.all('SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?', from, BATCH_ENTRIES)) {
      upTo = Number(row['seq']);
      const entry = readable(row);
      if (!entry) continue;
      const { chain, n, at, exchange } = entry;
      const placed = { id: `${chain}:${n}`, chain, n, hash: String(row['hash']) };
      if (entry.kind === 'act') {
        const act = entry.body as Act;
        if (act.act === 'stopped') closed.add(chain);
        events.push({ ...placed, kind: 'act', at, act });
      } else if (exchange === undefined) continue;
      else if (entry.kind === 'intent') open.set(exchange, [upTo, at]);
      else {
        const intent = this.#intentOf(exchange, open.get(exchange)?.[0]);
        open.delete(exchange);
        if (intent)
          events.push({
            ...placed,
            kind: 'call',
            at: intent.at,
            exchange,
            intent: intent.intent,
            outcome: entry.body as Outcome,
            endedAt: at,
          });
      }
    }
    const old = this.#clock.now() - OPEN_MS;
    let many = open.size - MAX_OPEN;
    for (const [exchange, [seq, at]] of open) {
      if (many <= 0 && at >= old && closed.size === 0) continue;
      const row = this.#db.get("SELECT * FROM audit WHERE seq = ? AND kind = 'intent'", seq);
      if (row && many <= 0 && at >= old && !closed.has(String(row['chain']))) continue;
      many--;
      open.delete(exchange);
      const entry = row && readable(row);
      if (!entry) continue;
      const { chain, n, body } = entry;
      const placed = { id: `${chain}:${n}`, chain, n, hash: String(row['hash']) };
      events.push({ ...placed, kind: 'call', at, exchange, intent: body as Intent, outcome: undefined, endedAt: undefined });
    }
    return { events, upTo, open: JSON.stringify([...open].map(([exchange, [seq, at]]) => [exchange, seq, at])) };
  }

  #intentOf(exchange: string, seq: number | undefined): { readonly at: number; readonly intent: Intent } | undefined {
    const row = seq === undefined ? undefined : this.#db.get("SELECT * FROM audit WHERE seq = ? AND kind = 'intent'", seq);
    const entry = row ? readable(row) : this.#log.entries({ exchange, limit: 10 }).find(({ kind }) => kind === 'intent');
    return entry && { at: entry.at, intent: entry.body as Intent };
  }
}

/** Somebody may have written into the record what is no JSON: verification tells, and the delivery goes on. */
function readable(row: Row): Entry | undefined {
  try {
    return entryOf(row);
  } catch {
    return undefined;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return [];
  }
}
