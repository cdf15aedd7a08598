import { createHash, createPublicKey, verify, type JsonWebKey } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import * as z from 'zod';
import { AuditError } from '../auditError.ts';
import type { StopSignal } from '../../common/stop.ts';
import { Database, type Value } from '../../store/database.ts';
import { EXPORT_TYPE, EXPORT_VERSION } from './jsonLines.ts';

const Key = z.object({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string() });
const Line = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('culvert-audit-export'),
    v: z.literal(EXPORT_VERSION),
    made: z.number(),
    from: z.number(),
    to: z.number(),
    whole: z.boolean(),
    key: Key,
  }),
  z.object({ type: z.literal('start'), chain: z.string(), n: z.number().int(), hash: z.string() }),
  z.object({
    type: z.literal('entry'),
    seq: z.number().int(),
    chain: z.string(),
    n: z.number().int(),
    at: z.number().int(),
    kind: z.enum(['intent', 'outcome', 'act']),
    exchange: z.string().nullable(),
    body: z.string(),
    hash: z.string(),
  }),
  z.object({ type: z.literal('checkpoint'), id: z.number().int(), jws: z.string() }),
  z.object({ type: z.literal('end'), jws: z.string() }),
]);

/** What came in. */
export interface Imported {
  readonly entries: number;
  readonly checkpoints: number;
  /** Milliseconds since the epoch. */
  readonly made: number;
  /** The key that signed it: whether it is that of the right installation can only be asked there. RFC 7638, base64url. */
  readonly thumbprint: string;
  /** That key (RFC 8037). */
  readonly key: z.infer<typeof Key>;
  /** Whether it says that nothing was left out. */
  readonly whole: boolean;
  /** `[chain, n, hash]` of the last entry of each chain before the export begins. */
  readonly starts: readonly (readonly [chain: string, n: number, hash: string])[];
}

/** Longest line, characters: an entry with its arguments is far below. */
const MAX_LINE_CHARACTERS = 16 * 1024 * 1024;
const LINES_PER_TRANSACTION = 200;

/**
 * Reads an export into a database of its own, for looking at it: `path` must not exist yet. Checks the signature over the whole file; what is
 * inside is checked by a verification. Rejects with {@link AuditError}; then the database is unfinished and must not be used.
 */
export async function importLines(file: string, path: string, signal?: StopSignal): Promise<Imported> {
  if (existsSync(path)) throw new AuditError('CULVERT_AUDIT_IMPORT_EXISTS', `${path} is there already. Choose another name.`);
  const db = Database.open(path);
  try {
    const digest = createHash('sha256');
    let head: z.infer<typeof Line> | undefined;
    let end: string | undefined;
    let [entries, checkpoints, number] = [0, 0, 0];
    const starts: [chain: string, n: number, hash: string][] = [];
    let waiting: [sql: string, values: Value[]][] = [];
    const write = () => {
      const batch = waiting;
      waiting = [];
      if (batch.length > 0)
        db.transaction(() => {
          for (const [sql, values] of batch) db.run(sql, ...values);
        });
    };
    const lines = createInterface({ input: createReadStream(file, 'utf8'), crlfDelay: Infinity });
    for await (const text of lines) {
      number++;
      if (signal?.aborted) throw new DOMException('The import was cancelled.', 'AbortError');
      if (text.length > MAX_LINE_CHARACTERS) throw unreadable(number);
      const line = parse(text);
      if (!line || end !== undefined || (number === 1) !== (line.type === 'culvert-audit-export')) throw unreadable(number);
      if (line.type === 'end') {
        end = line.jws;
        continue;
      }
      digest.update(text).update('\n');
      if (line.type === 'culvert-audit-export') head = line;
      else if (line.type === 'start') starts.push([line.chain, line.n, line.hash]);
      else if (line.type === 'entry') {
        entries++;
        const { seq, chain, n, at, kind, exchange, body, hash } = line;
        const { server = null, tool = null } = kind === 'outcome' ? {} : columnsOf(body);
        waiting.push([
          'INSERT INTO audit (seq, chain, n, at, kind, exchange, server, tool, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
          [seq, chain, n, at, kind, exchange, server, kind === 'intent' ? tool : null, body, hash],
        ]);
      } else {
        checkpoints++;
        waiting.push(['INSERT INTO checkpoint (id, at, jws) VALUES (?, 0, ?)', [line.id, line.jws]]);
      }
      if (waiting.length >= LINES_PER_TRANSACTION) write();
    }
    write();
    if (head?.type !== 'culvert-audit-export' || end === undefined)
      throw new AuditError('CULVERT_AUDIT_IMPORT_CUT', `${file} is no whole export: its end is missing. Ask for it again.`);
    if (!isSignedEnd(end, head.key, digest.digest('hex')))
      throw new AuditError(
        'CULVERT_AUDIT_IMPORT_CHANGED',
        `${file} was changed after it was made: its signature does not hold. Ask for it again.`,
      );
    return { entries, checkpoints, made: head.made, thumbprint: thumbprintOf(head.key), key: head.key, whole: head.whole, starts };
  } finally {
    db.close();
  }
}

/** Name of a key (RFC 7638, RFC 8037), base64url. */
export function thumbprintOf({ crv, kty, x }: { readonly crv?: string; readonly kty?: string; readonly x?: string }): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x })).digest('base64url');
}

function parse(text: string): z.infer<typeof Line> | undefined {
  try {
    return Line.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function columnsOf(body: string): { server?: string; tool?: string } {
  try {
    const { server, tool } = JSON.parse(body) as Record<string, unknown>;
    return { ...(typeof server === 'string' ? { server } : {}), ...(typeof tool === 'string' ? { tool } : {}) };
  } catch {
    return {};
  }
}

function unreadable(line: number): AuditError {
  return new AuditError('CULVERT_AUDIT_IMPORT_UNREADABLE', `Line ${line} is no part of an export of this version of Culvert.`);
}

function isSignedEnd(jws: string, key: JsonWebKey, sha256: string): boolean {
  try {
    const [header = '', payload = '', signature = ''] = jws.split('.');
    const { alg, typ } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { alg?: string; typ?: string };
    const said = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sha256?: string };
    const holds = verify(
      null,
      Buffer.from(`${header}.${payload}`),
      createPublicKey({ key, format: 'jwk' }),
      Buffer.from(signature, 'base64url'),
    );
    return holds && alg === 'EdDSA' && typ === EXPORT_TYPE && said.sha256 === sha256;
  } catch {
    return false;
  }
}
