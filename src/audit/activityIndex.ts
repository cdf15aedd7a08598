import type { Disposable } from '../common/disposable.ts';
import { JobThread } from '../store/jobThread.ts';
import type { Database } from '../store/database.ts';
import type { Activity } from './activities.ts';
import type { AuditLog } from './auditLog.ts';
import { conditionOf, isMeant, type ActivityFilter } from './activityFilter.ts';
import {
  INDEX_SCHEMA,
  INDEX_VERSION,
  askIndex,
  findCalls,
  updateIndex,
  type AnswerRow,
  type IndexPlace,
  type IndexProgress,
} from './activityJobs.ts';
import {
  detailParameters,
  sumDetail,
  sumTimeline,
  timelineParameters,
  type ActivityDetail,
  type StatisticsQuery,
  type Timeline,
} from './activityStatistics.ts';
import type { Entry, Intent, Outcome } from './record.ts';

/** Some calls, newest first. */
export interface ActivityPage {
  readonly calls: readonly Activity[];
  /** `before` for the next page; absent at the end. A page may be short, or empty, with a next one. */
  readonly next: number | undefined;
}

/** A day on which something was called, in the local time of this machine. */
export interface ActivityDay {
  /** Milliseconds since the epoch; `to` is the beginning of the next day. */
  readonly from: number;
  readonly to: number;
  readonly calls: number;
  readonly denied: number;
  readonly findings: number;
}

/** Calls of one conversation of one client. */
export interface ActivityConversation {
  readonly client: string;
  readonly clientName: string;
  readonly conversation: string;
  readonly calls: number;
  readonly denied: number;
  readonly findings: number;
  /** Milliseconds since the epoch. */
  readonly firstAt: number;
  readonly lastAt: number;
}

/** Calls that ended within an hour and are alike otherwise. */
export interface ActivityCell {
  /** Beginning of the hour, milliseconds since the epoch; UTC hours. */
  readonly hour: number;
  readonly server: string;
  readonly effect: Intent['effect'];
  readonly result: Outcome['result'];
  readonly calls: number;
  readonly findings: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
}

/** What happened in a span, summed up. */
export interface ActivitySummary {
  /** By hour, server, decision and result, oldest first. */
  readonly timeline: readonly ActivityCell[];
  /** By tool and hour of the day, 0 to 23, local time. `tool` is empty for what is no call of a tool. */
  readonly heat: readonly { readonly server: string; readonly tool: string; readonly hourOfDay: number; readonly calls: number }[];
  /** Calls by server and running time: `below` is the upper bound in milliseconds, a power of two. */
  readonly latency: readonly { readonly server: string; readonly below: number; readonly calls: number }[];
  readonly credentials: readonly { readonly hour: number; readonly credential: string; readonly calls: number }[];
}

/** Entries that are indexed in one transaction: some 10 ms of the thread. */
const ROWS_PER_SLICE = 1_000;
/** How long a question waits for the index to come up to the record, milliseconds. Beyond that it is answered with what is there. */
const WAIT_MS = 60;
/** A page ends after so much searching, milliseconds; the next one goes on. */
const PAGE_DEADLINE_MS = 80;
/** Entries that the index may be behind before the record itself is read for the newest calls. */
const MAX_BEHIND = 500;
/** Entries that are read for it: some 20 ms. */
const DIRECT_LOOK_BACK = 5_000;
const HOUR_MS = 60 * 60_000;

/**
 * Answers questions about the record from an index in a file of its own, beside the database. It is filled in a thread, when something
 * is asked, and can be made again from the record at any time; it is not evidence. Calls that it does not have yet are missing in its
 * answers while {@link status} says that it is behind.
 */
export class ActivityIndex implements Disposable {
  readonly #log: AuditLog;
  readonly #place: IndexPlace;
  readonly #thread: JobThread;
  #updating: Promise<void> | undefined;
  #progress: IndexProgress = { upTo: 0, newest: 0 };

  constructor(db: Database, log: AuditLog, thread = new JobThread()) {
    this.#log = log;
    this.#place = { path: db.path, indexPath: `${db.path}.index`, schema: INDEX_SCHEMA, version: INDEX_VERSION };
    this.#thread = thread;
  }

  /** How far the index is. `behind` is in entries; 0 when all is in it. */
  get status(): { readonly behind: number; readonly entries: number } {
    return { behind: Math.max(0, this.#progress.newest - this.#progress.upTo), entries: this.#progress.newest };
  }

  /** Brings the index up to the record. Every question does it, too. Rejects if index or record can't be read. */
  update(onProgress?: (progress: IndexProgress) => void): Promise<void> {
    try {
      this.#log.flush();
    } catch {
      // What can't be written now is not on the record yet.
    }
    this.#updating ??= this.#thread
      .run(
        updateIndex,
        { ...this.#place, rowsPerSlice: ROWS_PER_SLICE },
        {
          onProgress: (progress) => {
            this.#progress = progress;
            onProgress?.(progress);
          },
        },
      )
      .then((progress) => void (this.#progress = progress))
      .finally(() => (this.#updating = undefined));
    return this.#updating;
  }

  /** Calls, newest first. `before` is the `next` of the page before. */
  async calls(filter: ActivityFilter, page: { readonly limit: number; readonly before?: number | undefined }): Promise<ActivityPage> {
    await this.#current();
    if (this.status.behind > MAX_BEHIND && (page.before ?? Infinity) > this.#progress.upTo) return this.#direct(filter, page);
    let { where, values } = conditionOf(filter);
    if (filter.from !== undefined || filter.to !== undefined) {
      // The order is that of writing: a span of time lies in a span of places.
      const span = (
        await this.#ask(
          'SELECT min(seq) AS low, max(seq) AS high FROM call WHERE at >= ? AND at < ?',
          filter.from ?? 0,
          filter.to ?? Number.MAX_SAFE_INTEGER,
        )
      )[0];
      where = `${where} AND seq BETWEEN ? AND ?`;
      values = [...values, number(span, 'low'), number(span, 'high')];
    }
    const { calls, next } = await this.#thread.run(findCalls, {
      path: this.#place.path,
      where,
      values,
      text: filter.text === undefined || filter.text === '' ? undefined : filter.text.toLowerCase(),
      before: page.before ?? Number.MAX_SAFE_INTEGER,
      limit: page.limit,
      deadlineMs: PAGE_DEADLINE_MS,
    });
    return {
      calls: calls.map(({ seq, at, exchange, intent, outcome }) => ({
        seq,
        at,
        exchange,
        intent: JSON.parse(intent) as Intent,
        outcome: outcome === undefined ? undefined : (JSON.parse(outcome) as Outcome),
      })),
      next,
    };
  }

  /** The newest calls from the record itself, while the index is far behind. What it does not find is looked for in the index next. */
  #direct(filter: ActivityFilter, page: { readonly limit: number; readonly before?: number | undefined }): ActivityPage {
    const calls = this.#log.activities({
      limit: page.limit,
      ...(page.before === undefined ? {} : { before: page.before }),
      lookBack: DIRECT_LOOK_BACK,
      meant: (activity) => isMeant(activity, filter),
    });
    return { calls, next: calls.length >= page.limit ? calls.at(-1)?.seq : this.#progress.upTo + 1 };
  }

  /** Days with calls, newest first; `before` is the `from` of the last day already seen. The text of a filter is left out of account. */
  async days(filter: ActivityFilter, page: { readonly limit: number; readonly before?: number }): Promise<ActivityDay[]> {
    await this.#current();
    const { where, values } = conditionOf(filter);
    const days: ActivityDay[] = [];
    let before = page.before ?? Number.MAX_SAFE_INTEGER;
    while (days.length < page.limit) {
      const newest = (
        await this.#ask(`SELECT at FROM call INDEXED BY call_at WHERE at < ? AND ${where} ORDER BY at DESC LIMIT 1`, before, ...values)
      )[0]?.['at'];
      if (newest === undefined) break;
      const date = new Date(Number(newest));
      const from = new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
      // Not always 24 hours later.
      const to = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTime();
      const row = (
        await this.#ask(
          `SELECT count(*) AS calls, sum(effect = 'deny') AS denied, sum(findings > 0) AS findings FROM call INDEXED BY call_at WHERE at >= ? AND at < ? AND ${where}`,
          from,
          to,
          ...values,
        )
      )[0];
      days.push({ from, to, calls: number(row, 'calls'), denied: number(row, 'denied'), findings: number(row, 'findings') });
      before = from;
    }
    return days;
  }

  /** Conversations with calls in a span (at most some days), the one with the newest call first. The text of a filter is left out of account. */
  async conversations(filter: ActivityFilter & { readonly from: number; readonly to: number }): Promise<ActivityConversation[]> {
    await this.#current();
    const { where, values } = conditionOf(filter);
    const rows = await this.#ask(
      `SELECT client, name, conversation, count(*) AS calls, sum(effect = 'deny') AS denied, sum(findings > 0) AS findings, min(at) AS first, max(at) AS last
       FROM call INDEXED BY call_at WHERE ${where} GROUP BY client, name, conversation ORDER BY last DESC LIMIT 1000`,
      ...values,
    );
    return rows.map((row) => ({
      client: String(row['client']),
      clientName: String(row['name']),
      conversation: String(row['conversation']),
      calls: number(row, 'calls'),
      denied: number(row, 'denied'),
      findings: number(row, 'findings'),
      firstAt: number(row, 'first'),
      lastAt: number(row, 'last'),
    }));
  }

  /** Sums over calls that ended, by whole hours. Only server, tool, client and span of a filter count. */
  async aggregate(filter: ActivityFilter): Promise<ActivitySummary> {
    await this.#current();
    const { from = 0, to = Number.MAX_SAFE_INTEGER } = filter;
    const hours = [Math.floor(from / HOUR_MS), Math.ceil(to / HOUR_MS)];
    const { where, values } = conditionOf({
      ...(filter.server === undefined ? {} : { server: filter.server }),
      ...(filter.tool === undefined ? {} : { tool: filter.tool }),
      ...(filter.client === undefined ? {} : { client: filter.client }),
      ...(filter.clientName === undefined ? {} : { clientName: filter.clientName }),
    });
    const [timeline, heat, latency, credentials] = await Promise.all([
      this.#ask(
        `SELECT hour, server, effect, result, sum(calls) AS calls, sum(findings) AS findings, sum(request_bytes) AS sent, sum(response_bytes) AS received
         FROM rollup WHERE hour >= ? AND hour < ? AND ${where} GROUP BY hour, server, effect, result ORDER BY hour`,
        ...hours,
        ...values,
      ),
      this.#ask(
        `SELECT server, tool, (hour + ?) % 24 AS hour_of_day, sum(calls) AS calls FROM rollup WHERE hour >= ? AND hour < ? AND ${where} GROUP BY 1, 2, 3`,
        Math.round(-new Date(to < Number.MAX_SAFE_INTEGER ? to : Date.now()).getTimezoneOffset() / 60) + 24,
        ...hours,
        ...values,
      ),
      this.#ask(
        `SELECT server, bucket, sum(calls) AS calls FROM rollup WHERE hour >= ? AND hour < ? AND ${where} GROUP BY server, bucket ORDER BY server, bucket`,
        ...hours,
        ...values,
      ),
      this.#ask('SELECT hour, credential, calls FROM credential_hour WHERE hour >= ? AND hour < ? ORDER BY hour', ...hours),
    ]);
    return {
      timeline: timeline.map((row) => ({
        hour: number(row, 'hour') * HOUR_MS,
        server: String(row['server']),
        effect: String(row['effect']) as Intent['effect'],
        result: String(row['result']) as Outcome['result'],
        calls: number(row, 'calls'),
        findings: number(row, 'findings'),
        requestBytes: number(row, 'sent'),
        responseBytes: number(row, 'received'),
      })),
      heat: heat.map((row) => ({
        server: String(row['server']),
        tool: String(row['tool']),
        hourOfDay: number(row, 'hour_of_day'),
        calls: number(row, 'calls'),
      })),
      latency: latency.map((row) => ({ server: String(row['server']), below: 2 ** number(row, 'bucket'), calls: number(row, 'calls') })),
      credentials: credentials.map((row) => ({
        hour: number(row, 'hour') * HOUR_MS,
        credential: String(row['credential']),
        calls: number(row, 'calls'),
      })),
    };
  }

  /** Calls by time, server and end, in at most `maxBins` bins (and one). */
  async timeline(query: StatisticsQuery, maxBins: number): Promise<Timeline> {
    await this.#current();
    const parameters = timelineParameters(query, maxBins);
    return { binMs: parameters.binMs, bins: parameters.bins, cells: await this.#thread.run(sumTimeline, parameters) };
  }

  /** When the first and the last call that are indexed arrived, milliseconds since the epoch; `undefined` if there is none. */
  async span(): Promise<{ readonly first: number; readonly last: number } | undefined> {
    await this.#current();
    const row = (await this.#ask('SELECT (SELECT min(at) FROM call) AS first, (SELECT max(at) FROM call) AS last'))[0];
    return typeof row?.['first'] === 'number' ? { first: row['first'], last: number(row, 'last') } : undefined;
  }

  /** Everything else that pictures of a span show. */
  async detail(query: StatisticsQuery): Promise<ActivityDetail> {
    await this.#current();
    return this.#thread.run(sumDetail, detailParameters(query));
  }

  /** Every entry about one call, oldest first; empty if the record has none. Without the index, newer entries are looked through. */
  async record(exchange: string): Promise<Entry[]> {
    await this.#current();
    const row = (await this.#ask('SELECT seq, outcome FROM call WHERE exchange = ?', exchange))[0];
    if (!row) return this.#log.entries({ exchange, limit: 10 }).reverse();
    return this.#log.at([number(row, 'seq'), ...(row['outcome'] === null ? [] : [number(row, 'outcome')])]);
  }

  /** Values of a column that occur, for filters; at most a few hundred. */
  async values(column: 'server' | 'tool' | 'name'): Promise<string[]> {
    await this.#current();
    const rows = await this.#ask(`SELECT DISTINCT ${column} AS value FROM rollup WHERE ${column} <> '' ORDER BY 1 LIMIT 500`);
    return rows.map((row) => String(row['value']));
  }

  dispose(): void {
    void this.#thread.end();
  }

  /** Waits a moment for the index; what it then does not have yet comes later. */
  async #current(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const wait = new Promise<void>((resolve) => (timer = setTimeout(resolve, WAIT_MS)));
    await Promise.race([this.update(), wait]).finally(() => clearTimeout(timer));
  }

  #ask(sql: string, ...values: (string | number)[]): Promise<AnswerRow[]> {
    return this.#thread.run(askIndex, { sql, values });
  }
}

function number(row: AnswerRow | undefined, column: string): number {
  return Number(row?.[column] ?? 0);
}
