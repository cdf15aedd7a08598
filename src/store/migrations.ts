/**
 * The table `audit` has no index: every call writes to it, and each index would double what a commit writes. It is read in order of `seq`,
 * newest first, where what is looked for lies near.
 */

/** One entry per version of the database; entries are never changed once released. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE key_identity (one INTEGER PRIMARY KEY CHECK (one = 1), fingerprint TEXT NOT NULL) STRICT;
  CREATE TABLE signed_row (collection TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, mac TEXT NOT NULL, PRIMARY KEY (collection, id)) STRICT, WITHOUT ROWID;
  CREATE TABLE manifest (collection TEXT PRIMARY KEY, generation INTEGER NOT NULL, rows TEXT NOT NULL, mac TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, chain TEXT NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, exchange TEXT,
    server TEXT, tool TEXT, body TEXT NOT NULL, hash TEXT NOT NULL
  ) STRICT;
  CREATE TABLE checkpoint (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, jws TEXT NOT NULL) STRICT;
  CREATE TABLE finding (
    id TEXT PRIMARY KEY, server TEXT NOT NULL, tool TEXT, rule TEXT NOT NULL, severity TEXT NOT NULL, subject TEXT NOT NULL, direction TEXT NOT NULL,
    form TEXT NOT NULL, action TEXT NOT NULL, count INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, exchange TEXT NOT NULL, dismissed INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE credential_use (credential TEXT PRIMARY KEY, at INTEGER NOT NULL, count INTEGER NOT NULL) STRICT;
  `,
  `
  CREATE TABLE export_cursor (
    sink TEXT PRIMARY KEY, seq INTEGER NOT NULL, open TEXT NOT NULL, sent INTEGER NOT NULL DEFAULT 0, sent_at INTEGER, error TEXT, owner TEXT, lease_until INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;
  `,
  `
  ALTER TABLE finding ADD COLUMN tier TEXT;
  ALTER TABLE finding ADD COLUMN path TEXT;
  ALTER TABLE finding ADD COLUMN digest TEXT;
  ALTER TABLE finding ADD COLUMN workspace TEXT;
  ALTER TABLE finding ADD COLUMN unread INTEGER NOT NULL DEFAULT 1;
  CREATE INDEX finding_digest ON finding (digest) WHERE digest IS NOT NULL;
  `,
  `
  CREATE TABLE lease (name TEXT PRIMARY KEY, owner TEXT NOT NULL, lease_until INTEGER NOT NULL, done_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE oauth_lease (
    credential TEXT PRIMARY KEY, owner TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, until INTEGER NOT NULL, sent TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE oauth_pending (id TEXT PRIMARY KEY, begun_at INTEGER NOT NULL, result TEXT) STRICT, WITHOUT ROWID;
  `,
];
