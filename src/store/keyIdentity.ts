import { createHash } from 'node:crypto';
import type { Database } from './database.ts';

/** Fingerprint by which a database knows the key it is signed with: SHA-256, first 128 bits, hex. */
export function fingerprintOf(key: Buffer): string {
  return createHash('sha256').update('culvert store key\0').update(key).digest('hex').slice(0, 32);
}

/** The fingerprint this database is signed under, or `undefined` in a fresh one. */
export function storedFingerprint(db: Database): string | undefined {
  const row = db.get('SELECT fingerprint FROM key_identity WHERE one = 1');
  return row === undefined ? undefined : String(row['fingerprint']);
}

/** Claims a fresh database for a key. Exactly one of several windows that start at once succeeds. */
export function claimDatabase(db: Database, fingerprint: string): boolean {
  return db.run('INSERT OR IGNORE INTO key_identity (one, fingerprint) VALUES (1, ?)', fingerprint).changes === 1;
}
