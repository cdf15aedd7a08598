import { randomBytes } from 'node:crypto';
import { newSigningKey } from '../audit/checkpoints.ts';
import type { Clock } from '../common/clock.ts';
import { VaultError, messageOf } from '../common/errors.ts';
import type { SecretStore } from '../credentials/vault.ts';
import type { Database } from '../store/database.ts';
import { claimDatabase, identityOf, releaseDatabase, storedIdentity } from '../store/keyIdentity.ts';
import { MacKey } from '../store/signedCollection.ts';

const STORE_KEY = 'culvert.store-key';
/** Name of the key that signs checkpoints, in the keyring. */
export const SIGNING_KEY = 'culvert.audit-signing-key';
/** What the keyring remembers about one database, by name; profiles share a keyring and have a database each. */
export const lastCheckpointKey = (database: string) => `culvert.audit-last-checkpoint.${database}`;
/** The same of its chains. */
export const chainsKey = (database: string) => `culvert.audit-chains.${database}`;
/** The same of the newest lists of its signed rows. */
export const generationsKey = (database: string) => `culvert.generations.${database}`;

/** How long a window waits for the key that another window is just making, milliseconds. */
const KEY_WAIT_MS = 5_000;

function readKey(text: string | undefined): Buffer | undefined {
  const key = text === undefined ? undefined : Buffer.from(text, 'base64url');
  return key?.length === 32 ? key : undefined;
}

/**
 * The key under which the database is signed. In a fresh database exactly one window makes the keys; others wait for them. A
 * database whose key is gone means that the keyring forgets: that is said, and nothing is overwritten.
 */
export async function openKey(
  db: Database,
  secrets: SecretStore,
  clock: Clock,
): Promise<{ readonly key: MacKey; readonly database: string; readonly replacedEarlier: boolean }> {
  const stored = readKey(await secrets.get(STORE_KEY));
  if (storedIdentity(db) === undefined) {
    const key = stored ?? randomBytes(32);
    const identity = identityOf(key);
    if (claimDatabase(db, identity)) {
      try {
        if ((await secrets.get(SIGNING_KEY)) === undefined) await secrets.store(SIGNING_KEY, await newSigningKey());
        if (stored === undefined) await secrets.store(STORE_KEY, key.toString('base64url'));
      } catch (error) {
        // A database that names a key which nobody has could never be opened again.
        releaseDatabase(db, identity);
        throw new VaultError(
          'CULVERT_VAULT_WRITE',
          `Culvert’s key could not be stored: ${messageOf(error)}. Check that the system’s keyring is unlocked, then reload the window.`,
          { cause: error },
        );
      }
      return { key: new MacKey(key), database: identity.id, replacedEarlier: stored !== undefined };
    }
  }
  const expected = storedIdentity(db);
  const find = async () => {
    const key = readKey(await secrets.get(STORE_KEY));
    if (!key || !expected) return undefined;
    return identityOf(key, expected.id).fingerprint === expected.fingerprint ? new MacKey(key) : undefined;
  };
  const deadline = clock.monotonic() + KEY_WAIT_MS;
  for (;;) {
    const key = await find();
    if (key && expected) return { key, database: expected.id, replacedEarlier: false };
    if (clock.monotonic() >= deadline) break;
    await new Promise<void>((resolve) => {
      const subscription = secrets.onDidChange(() => done());
      const timer = clock.after(250, () => done());
      const done = () => {
        subscription.dispose();
        timer.dispose();
        resolve();
      };
    });
  }
  throw new VaultError(
    'CULVERT_VAULT_FORGOT',
    'The system’s keyring no longer has Culvert’s key, so stored servers and grants can’t be trusted. If the keyring is locked, unlock it and reload the window; if it forgets at every start, set one up (on Linux GNOME Keyring or KWallet), then choose “Start Over…”.',
  );
}
