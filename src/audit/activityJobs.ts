import type { DatabaseSync } from 'node:sqlite';
import type { JobTools } from '../store/jobThread.ts';
import { STATISTICS_SCHEMA } from './activityStatistics.ts';

/** Where the record and its index lie. */
export interface IndexPlace {
  readonly path: string;
  readonly indexPath: string;
  /** {@link INDEX_SCHEMA}: jobs stand alone, so it is handed to them. */
  readonly schema: string;
  readonly version: number;
}

/** Version of {@link INDEX_SCHEMA}. An index of another version is made anew. */
export const INDEX_VERSION = 3;

/**
 * The index is a file of its own, so that filling it never holds up a call. Everything in it can be made again from the record. `rollup`
 * counts calls that ended: by hour, and by powers of two of their milliseconds (`bucket`: 0 is below 1 ms, 1 below 2 ms, 2 below 4 ms …).
 */
export const INDEX_SCHEMA = `
CREATE TABLE place (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL, low INTEGER NOT NULL) STRICT;
INSERT INTO place VALUES (1, 0, '', 0);
CREATE TABLE call (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, exchange TEXT NOT NULL, client TEXT NOT NULL, name TEXT NOT NULL, conversation TEXT NOT NULL,
  server TEXT NOT NULL, tool TEXT, effect TEXT NOT NULL, result TEXT, findings INTEGER NOT NULL DEFAULT 0, bucket INTEGER, outcome INTEGER
) STRICT;
CREATE INDEX call_exchange ON call (exchange);
CREATE INDEX call_at ON call (at, client, name, conversation, effect, findings, tool, server, result);
CREATE INDEX call_server ON call (server, tool, seq);
CREATE INDEX call_tool ON call (tool, seq);
CREATE INDEX call_findings ON call (seq) WHERE findings > 0;
CREATE INDEX call_denied ON call (seq) WHERE effect = 'deny';
CREATE INDEX call_result ON call (result, seq) WHERE result <> 'ok';
CREATE TABLE rollup (
  hour INTEGER NOT NULL, server TEXT NOT NULL, tool TEXT NOT NULL, client TEXT NOT NULL, name TEXT NOT NULL, effect TEXT NOT NULL, result TEXT NOT NULL,
  bucket INTEGER NOT NULL, calls INTEGER NOT NULL, findings INTEGER NOT NULL, request_bytes INTEGER NOT NULL, response_bytes INTEGER NOT NULL, ms REAL NOT NULL,
  PRIMARY KEY (hour, server, tool, client, name, effect, result, bucket)
) STRICT, WITHOUT ROWID;
CREATE TABLE credential_hour (hour INTEGER NOT NULL, credential TEXT NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (hour, credential)) STRICT, WITHOUT ROWID;
${STATISTICS_SCHEMA}`;

/** Where the index stands. */
export interface IndexProgress {
  /** `seq` of the last entry that is in the index. */
  readonly upTo: number;
  /** `seq` of the newest entry of the record. */
  readonly newest: number;
}

/** Brings the index up to the record; makes it anew where it belongs to another one. A {@link Job}: stands alone. */
export function* updateIndex(
  tools: JobTools,
  place: IndexPlace & { readonly rowsPerSlice: number },
): Generator<IndexProgress, IndexProgress> {
  interface Delta {
    calls: number;
    findings: number;
    requestBytes: number;
    responseBytes: number;
    ms: number;
  }
  const { DatabaseSync: Connection } = tools.sqlite;
  const openIndex = (): DatabaseSync => {
    const db = new Connection(place.indexPath, { timeout: 5000 });
    try {
      // Where two windows make it at the same moment, SQLite does not wait for its turn with this.
      for (let tries = 1; ; tries++)
        try {
          db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
          break;
        } catch (error) {
          if ((error as { errcode?: number }).errcode !== 5 || tries === 100) throw error;
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
        }
      const { user_version: version } = db.prepare('PRAGMA user_version').get() ?? {};
      if (version !== place.version) {
        if (version !== 0) throw new Error('another version');
        db.exec('BEGIN IMMEDIATE');
        // Another window may have been first.
        if (db.prepare('PRAGMA user_version').get()?.['user_version'] === 0)
          db.exec(`${place.schema} PRAGMA user_version = ${place.version};`);
        db.exec('COMMIT');
        tools.fs.chmodSync(place.indexPath, 0o600);
      }
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  };
  const discard = () => {
    (tools.kept.get('index') as DatabaseSync | undefined)?.close();
    tools.kept.delete('index');
    for (const end of ['', '-wal', '-shm']) tools.fs.rmSync(place.indexPath + end, { force: true });
  };
  let index = tools.kept.get('index') as DatabaseSync | undefined;
  if (!index) {
    try {
      index = openIndex();
    } catch (error) {
      // Locked is not damaged.
      if (((error as { errcode?: number }).errcode ?? 0) === 5) throw error;
      discard();
      index = openIndex();
    }
    tools.kept.set('index', index);
  }
  let record = tools.kept.get('record') as DatabaseSync | undefined;
  if (!record) {
    record = new Connection(place.path, { readOnly: true, timeout: 2000 });
    tools.kept.set('record', record);
  }

  const where = () => {
    const row = index.prepare('SELECT seq, hash, low FROM place').get() ?? {};
    return { seq: Number(row['seq']), hash: String(row['hash']), low: Number(row['low']) };
  };
  const range = record.prepare('SELECT (SELECT min(seq) FROM audit) AS low, (SELECT max(seq) FROM audit) AS high').get() ?? {};
  const [low, high] = [Number(range['low'] ?? 0), Number(range['high'] ?? 0)];
  const at = where();
  const same =
    at.seq === 0 || (at.seq < low && low > 0) || record.prepare('SELECT hash FROM audit WHERE seq = ?').get(at.seq)?.['hash'] === at.hash;
  if (!same) {
    index.exec('BEGIN IMMEDIATE');
    index.exec("DELETE FROM call; DELETE FROM rollup; DELETE FROM credential_hour; UPDATE place SET seq = 0, hash = '', low = 0");
    index.exec('COMMIT');
  } else if (low > at.low) {
    const first = record.prepare('SELECT at FROM audit WHERE seq = ?').get(low)?.['at'];
    index.exec('BEGIN IMMEDIATE');
    index.prepare('DELETE FROM call WHERE seq < ?').run(low);
    index.prepare('DELETE FROM rollup WHERE hour < ?').run(Math.floor(Number(first ?? 0) / 3_600_000));
    index.prepare('DELETE FROM credential_hour WHERE hour < ?').run(Math.floor(Number(first ?? 0) / 3_600_000));
    index.prepare('UPDATE place SET low = ?').run(low);
    index.exec('COMMIT');
  }

  const read = record.prepare('SELECT seq, at, kind, exchange, server, tool, body, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?');
  const addCall = index.prepare(
    'INSERT OR REPLACE INTO call (seq, at, exchange, client, name, conversation, server, tool, effect) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
  );
  const endCall = index.prepare(
    'UPDATE call SET result = ?, findings = ?, bucket = ?, outcome = ? WHERE exchange = ? AND outcome IS NULL RETURNING at, client, name, server, tool, effect, seq',
  );
  const addRollup = index.prepare(
    `INSERT INTO rollup VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, findings = findings + excluded.findings,
     request_bytes = request_bytes + excluded.request_bytes, response_bytes = response_bytes + excluded.response_bytes, ms = ms + excluded.ms`,
  );
  const addCredential = index.prepare(
    'INSERT INTO credential_hour VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls',
  );
  const bodyAt = record.prepare('SELECT body FROM audit WHERE seq = ?');
  for (;;) {
    index.exec('BEGIN IMMEDIATE');
    try {
      const { seq: from } = where();
      const rows = read.all(from, place.rowsPerSlice);
      const last = rows.at(-1);
      if (!last) {
        index.exec('COMMIT');
        return { upTo: from, newest: Math.max(high, from) };
      }
      const deltas = new Map<string, Delta>();
      const credentials = new Map<string, number>();
      const requestBytes = new Map<string, number>();
      for (const row of rows) {
        if (row['exchange'] === null) continue;
        const exchange = String(row['exchange']);
        let body: Record<string, string | number | undefined>;
        try {
          body = JSON.parse(String(row['body'])) as typeof body;
        } catch {
          continue;
        }
        const hour = Math.floor(Number(row['at']) / 3_600_000);
        if (row['kind'] === 'intent') {
          const claims = (body['claims'] ?? {}) as unknown as Record<string, string | undefined>;
          addCall.run(
            row['seq'] ?? 0,
            row['at'] ?? 0,
            exchange,
            String(body['client'] ?? ''),
            claims['clientName'] ?? '',
            claims['conversationId'] ?? '',
            String(row['server'] ?? ''),
            row['tool'] ?? null,
            String(body['effect'] ?? ''),
          );
          requestBytes.set(exchange, Number(body['requestBytes'] ?? 0));
          if (body['effect'] === 'allow')
            for (const credential of (body['credentials'] ?? []) as unknown as (string | { readonly name: string })[]) {
              const name = typeof credential === 'string' ? credential.replace(/ \(revision \d+\)$/, '') : credential.name;
              const key = JSON.stringify([hour, name]);
              credentials.set(key, (credentials.get(key) ?? 0) + 1);
            }
          continue;
        }
        const ms = Number(body['totalMs'] ?? 0);
        const bucket = ms < 1 ? 0 : Math.min(30, Math.floor(Math.log2(ms)) + 1);
        const findings = Number(body['findings'] ?? 0);
        const result = String(body['result'] ?? '');
        const call = endCall.get(result, findings, bucket, row['seq'] ?? 0, exchange);
        if (!call) continue;
        let sent = requestBytes.get(exchange);
        if (sent === undefined) {
          try {
            sent = (JSON.parse(String(bodyAt.get(call['seq'] ?? 0)?.['body'])) as { requestBytes?: number }).requestBytes ?? 0;
          } catch {
            sent = 0;
          }
        }
        const key = JSON.stringify([
          Math.floor(Number(call['at']) / 3_600_000),
          call['server'],
          call['tool'] ?? '',
          call['client'],
          call['name'],
          call['effect'],
          result,
          bucket,
        ]);
        let delta = deltas.get(key);
        if (!delta) deltas.set(key, (delta = { calls: 0, findings: 0, requestBytes: 0, responseBytes: 0, ms: 0 }));
        delta.calls++;
        delta.findings += findings;
        delta.requestBytes += sent;
        delta.responseBytes += Number(body['responseBytes'] ?? 0);
        delta.ms += ms;
      }
      for (const [key, d] of deltas)
        addRollup.run(...(JSON.parse(key) as [number, string]), d.calls, d.findings, d.requestBytes, d.responseBytes, d.ms);
      for (const [key, calls] of credentials) addCredential.run(...(JSON.parse(key) as [number, string]), calls);
      index.prepare('UPDATE place SET seq = ?, hash = ?, low = max(low, ?)').run(last['seq'] ?? 0, last['hash'] ?? '', low);
      index.exec('COMMIT');
      if (rows.length < place.rowsPerSlice) return { upTo: Number(last['seq']), newest: Math.max(high, Number(last['seq'])) };
      yield { upTo: Number(last['seq']), newest: high };
    } catch (error) {
      if (index.isTransaction) index.exec('ROLLBACK');
      throw error;
    }
  }
}

/** A row of an answer. */
export type AnswerRow = Readonly<Record<string, null | number | bigint | string | Uint8Array>>;

/** Asks the index something in SQL. A {@link Job}: stands alone. */
// eslint-disable-next-line require-yield
export function* askIndex(
  tools: JobTools,
  { sql, values }: { readonly sql: string; readonly values: readonly (string | number)[] },
): Generator<never, AnswerRow[]> {
  const index = tools.kept.get('index') as DatabaseSync | undefined;
  return index ? index.prepare(sql).all(...values) : [];
}

export interface FindCalls {
  readonly path: string;
  /** Condition over `call` in SQL, and its values. */
  readonly where: string;
  readonly values: readonly (string | number)[];
  /** Text that stands in the intent or the outcome, lower case. */
  readonly text: string | undefined;
  readonly before: number;
  readonly limit: number;
  /** A page ends when so much time is over, milliseconds. */
  readonly deadlineMs: number;
}

/** Texts of a call as stored, and where it stands. */
export interface FoundCall {
  readonly seq: number;
  readonly at: number;
  readonly exchange: string;
  readonly intent: string;
  readonly outcome: string | undefined;
}

/** Calls, newest first, with their texts; `next` is where to go on, absent at the end. A {@link Job}: stands alone. */
// eslint-disable-next-line require-yield
export function* findCalls(
  tools: JobTools,
  find: FindCalls,
): Generator<never, { readonly calls: readonly FoundCall[]; readonly next: number | undefined }> {
  const index = tools.kept.get('index') as DatabaseSync | undefined;
  const record = tools.kept.get('record') as DatabaseSync | undefined;
  if (!index || !record) return { calls: [], next: undefined };
  const until = performance.now() + find.deadlineMs;
  const body = record.prepare('SELECT body FROM audit WHERE seq = ?');
  const calls: FoundCall[] = [];
  const rows = index
    .prepare(`SELECT seq, at, exchange, outcome FROM call WHERE seq < ? AND ${find.where} ORDER BY seq DESC`)
    .iterate(find.before, ...find.values);
  for (const row of rows) {
    const seq = Number(row['seq']);
    const intent = body.get(seq)?.['body'];
    const outcome = row['outcome'] === null ? undefined : body.get(row['outcome'] ?? 0)?.['body'];
    if (typeof intent === 'string') {
      const has = find.text === undefined || `${intent}\n${String(outcome ?? '')}`.toLowerCase().includes(find.text);
      if (has)
        calls.push({
          seq,
          at: Number(row['at']),
          exchange: String(row['exchange']),
          intent,
          outcome: typeof outcome === 'string' ? outcome : undefined,
        });
    }
    if (calls.length >= find.limit || performance.now() > until) return { calls, next: seq };
  }
  return { calls, next: undefined };
}
