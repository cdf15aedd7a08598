import { createHash, randomBytes } from 'node:crypto';
import type { Database } from './database.ts';

/** How a database knows itself and its key. Stored in it as `<id>:<fingerprint>`. */
export interface KeyIdentity {
  /** Random name of this database: what the keyring remembers about it is kept under this name, since profiles share one keyring. */
  readonly id: string;
  /** SHA-256 over key and id, first 128 bits, hex: neither can be exchanged alone. */
  readonly fingerprint: string;
}

/** The identity of a database `id` under `key`. A fresh database gets a fresh id. */
export function identityOf(key: Buffer, id: string = randomBytes(8).toString('hex')): KeyIdentity {
  const fingerprint = createHash('sha256').update('culvert store key\0').update(id).update('\0').update(key).digest('hex').slice(0, 32);
  return { id, fingerprint };
}

/** The identity this database is signed under, or `undefined` in a fresh one. */
export function storedIdentity(db: Database): KeyIdentity | undefined {
  const row = db.get('SELECT fingerprint FROM key_identity WHERE one = 1');
  if (row === undefined) return undefined;
  const [id = '', fingerprint = ''] = String(row['fingerprint']).split(':');
  return { id, fingerprint };
}

/** Claims a fresh database for a key. Exactly one of several windows that start at once succeeds. */
export function claimDatabase(db: Database, { id, fingerprint }: KeyIdentity): boolean {
  return db.run('INSERT OR IGNORE INTO key_identity (one, fingerprint) VALUES (1, ?)', `${id}:${fingerprint}`).changes === 1;
}

/** Takes a claim back whose key could not be kept: the database is fresh again. */
export function releaseDatabase(db: Database, { id, fingerprint }: KeyIdentity): void {
  db.run('DELETE FROM key_identity WHERE one = 1 AND fingerprint = ?', `${id}:${fingerprint}`);
}
