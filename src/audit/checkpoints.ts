import { CompactSign, compactVerify, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import { hash, type webcrypto } from 'node:crypto';
import { VaultError } from '../common/errors.ts';
import type { Clock } from '../common/clock.ts';
import type { Database } from '../store/database.ts';

/** Where the signing key and the digest of the last checkpoint are kept, out of reach of whoever can write the database. */
export interface CheckpointKeeper {
  get(name: 'signing-key' | 'last-checkpoint'): Promise<string | undefined>;
  set(name: 'signing-key' | 'last-checkpoint', value: string): Promise<void>;
}

/** Payload of a checkpoint. */
interface Payload {
  readonly at: number;
  readonly previous: string;
  /** `[chain, n, hash]` of each chain's last entry. */
  readonly heads: readonly (readonly [string, number, string])[];
}

type KeyPair = { readonly privateKey: webcrypto.CryptoKey; readonly publicKey: webcrypto.CryptoKey };

/** A fresh Ed25519 signing key as JWK text, for SecretStorage. */
export async function newSigningKey(): Promise<string> {
  const pair = await generateKeyPair('EdDSA', { extractable: true });
  return JSON.stringify(await exportJWK(pair.privateKey));
}

/** Signs and checks the heads of the audit chains: Ed25519, compact JWS (RFC 7515, RFC 8037). */
export class Checkpoints {
  readonly #db: Database;
  readonly #keeper: CheckpointKeeper;
  readonly #clock: Clock;
  #keys: Promise<KeyPair> | undefined;
  #working: Promise<void> = Promise.resolve();

  constructor(db: Database, keeper: CheckpointKeeper, clock: Clock) {
    this.#db = db;
    this.#keeper = keeper;
    this.#clock = clock;
  }

  /** Writes a checkpoint over `heads` unless the last one already covers exactly these. One at a time. */
  sign(heads: ReadonlyMap<string, { readonly n: number; readonly hash: string }>): Promise<void> {
    this.#working = this.#working.catch(() => undefined).then(() => this.#sign(heads));
    return this.#working;
  }

  async #sign(heads: ReadonlyMap<string, { readonly n: number; readonly hash: string }>): Promise<void> {
    if (heads.size === 0) return;
    const missing = await this.#missing();
    const last = this.#db.get('SELECT jws FROM checkpoint ORDER BY id DESC LIMIT 1');
    const list = [...heads].map(([chain, head]) => [chain, head.n, head.hash] as const).sort(([a], [b]) => (a < b ? -1 : 1));
    // One that should be there and isn't is named as the predecessor, so that a cut stays visible after this signature.
    const previous = missing ?? (last === undefined ? '' : digestOf(String(last['jws'])));
    if (missing === undefined && last !== undefined && JSON.stringify(payloadOf(String(last['jws']))?.heads) === JSON.stringify(list))
      return;
    const payload: Payload = { at: this.#clock.now(), previous, heads: list };
    const { privateKey } = await this.#keyPair();
    const jws = await new CompactSign(Buffer.from(JSON.stringify(payload), 'utf8'))
      .setProtectedHeader({ alg: 'EdDSA', typ: 'culvert-checkpoint+jws' })
      .sign(privateKey);
    this.#db.run('INSERT INTO checkpoint (at, jws) VALUES (?, ?)', payload.at, jws);
    await this.#keeper.set('last-checkpoint', digestOf(jws));
  }

  /** Digest of this installation's newest checkpoint, if the database no longer has it. */
  async #missing(): Promise<string | undefined> {
    const expected = await this.#keeper.get('last-checkpoint');
    if (expected === undefined) return undefined;
    for (const row of this.#db.iterate('SELECT jws FROM checkpoint ORDER BY id DESC'))
      if (digestOf(String(row['jws'])) === expected) return undefined;
    return expected;
  }

  /** Checks every checkpoint; `hashAt` gives the stored hash of entry n of a chain. Adds to `problems`, returns how many were checked. */
  async verify(hashAt: (chain: string, n: number) => string | undefined, problems: string[]): Promise<number> {
    const rows = this.#db.all('SELECT id, jws FROM checkpoint ORDER BY id');
    const expectedLast = await this.#keeper.get('last-checkpoint');
    if (rows.length === 0) {
      if (expectedLast !== undefined) problems.push('All checkpoints were removed.');
      return 0;
    }
    const { publicKey } = await this.#keyPair();
    let previous = '';
    let sawExpected = expectedLast === undefined;
    for (const row of rows) {
      const [id, jws] = [Number(row['id']), String(row['jws'])];
      const payload = await compactVerify(jws, publicKey, { algorithms: ['EdDSA'] }).then(
        (result) => JSON.parse(Buffer.from(result.payload).toString('utf8')) as Payload,
        () => undefined,
      );
      if (!payload) {
        problems.push(`Checkpoint ${id} is not signed by this installation.`);
        previous = digestOf(jws);
        continue;
      }
      // Two windows may sign at the same moment: then both name the same predecessor.
      if (payload.previous !== previous && !rows.some((r) => digestOf(String(r['jws'])) === payload.previous) && payload.previous !== '')
        problems.push(`A checkpoint before checkpoint ${id} was removed.`);
      for (const [chain, n, expected] of payload.heads) {
        const found = hashAt(chain, n);
        if (found === undefined)
          problems.push(`Chain ${chain}: entries up to ${n} were signed at ${new Date(payload.at).toISOString()} but are no longer there.`);
        else if (found !== expected)
          problems.push(`Chain ${chain}: entry ${n} is not the one that was signed at ${new Date(payload.at).toISOString()}.`);
      }
      previous = digestOf(jws);
      sawExpected ||= previous === expectedLast;
    }
    if (!sawExpected) problems.push('The newest checkpoint is gone: the database was cut or replaced by an older copy.');
    return rows.length;
  }

  #keyPair(): Promise<KeyPair> {
    this.#keys ??= this.#loadKeys().catch((error: unknown) => {
      this.#keys = undefined;
      throw error;
    });
    return this.#keys;
  }

  async #loadKeys(): Promise<KeyPair> {
    const stored = await this.#keeper.get('signing-key');
    if (stored === undefined)
      throw new VaultError(
        'CULVERT_VAULT_NO_SIGNING_KEY',
        'The key that signs the audit history is missing from the system’s keyring. Unlock the keyring and reload the window.',
      );
    const jwk = JSON.parse(stored) as JWK;
    const open: JWK = { ...jwk };
    delete open.d;
    return {
      privateKey: (await importJWK(jwk, 'EdDSA')) as webcrypto.CryptoKey,
      publicKey: (await importJWK(open, 'EdDSA')) as webcrypto.CryptoKey,
    };
  }
}

function digestOf(jws: string): string {
  return hash('sha256', jws);
}

function payloadOf(jws: string): Payload | undefined {
  try {
    return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8')) as Payload;
  } catch {
    return undefined;
  }
}
