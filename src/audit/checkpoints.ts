import { CompactSign, compactVerify, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import { hash, type webcrypto } from 'node:crypto';
import * as z from 'zod';
import { VaultError } from '../common/errors.ts';
import type { Clock } from '../common/clock.ts';
import type { Database } from '../store/database.ts';
import type { Head } from './chain.ts';
import { ChainMemory } from './chainMemory.ts';

/** Where the signing key and the digest of the last checkpoint are kept, out of reach of whoever can write the database. */
export interface CheckpointKeeper {
  get(name: 'signing-key' | 'last-checkpoint'): Promise<string | undefined>;
  set(name: 'signing-key' | 'last-checkpoint', value: string): Promise<void>;
}

const HeadEntry = z.tuple([z.string(), z.number().int(), z.string()]).readonly();

/** What a tombstone says: entries up to these were dropped on purpose. */
export const Dropped = z.object({
  reason: z.string(),
  /** Entries older than this went, milliseconds since the epoch. */
  before: z.number(),
  /** `[chain, n, hash]` of the last dropped entry of each chain. */
  chains: z.array(HeadEntry).readonly(),
  /** How many entries went with this tombstone. */
  entries: z.number().int(),
  /** Digests of checkpoints that went too and that remaining ones name as their predecessors. */
  checkpoints: z.array(z.string()).readonly(),
});
export type Dropped = z.infer<typeof Dropped>;

/** Payload of a checkpoint (docs/audit-format.md). Those of before version 2 name every chain and nothing else. */
export const CheckpointPayload = z.object({
  v: z.literal(2).optional(),
  /** Milliseconds since the epoch. */
  at: z.number(),
  /** Digest of the checkpoint before, SHA-256 of its JWS, hex; empty for the first. */
  previous: z.string(),
  /** Digests of further checkpoints that nobody had named yet: windows may sign at the same moment. */
  also: z.array(z.string()).readonly().optional(),
  /** Chain of the window that signed. */
  by: z.string().optional(),
  /** Whether `heads` has every chain, not only those that moved. */
  full: z.boolean().optional(),
  /** Entries up to this `seq` were looked at. */
  upTo: z.number().int().optional(),
  /** `[chain, n, hash]` of a chain's last entry. */
  heads: z.array(HeadEntry).readonly(),
  /** Chains of windows that ended without signing: what is signed is what was found. */
  adopted: z.array(z.string()).readonly().optional(),
  dropped: Dropped.optional(),
});
export type CheckpointPayload = z.infer<typeof CheckpointPayload>;

/** A checkpoint as stored, its payload read but not checked. */
interface Stored {
  readonly id: number;
  readonly digest: string;
  readonly payload: CheckpointPayload;
}

type KeyPair = { readonly privateKey: webcrypto.CryptoKey; readonly publicKey: webcrypto.CryptoKey; readonly openJwk: JWK };

/** So many checkpoints may lean on one that names all chains. */
const FULL_EVERY = 500;
/** So many checkpoints back are looked through for such that nobody named yet. */
const LEAF_DISTANCE = 32;
/** Entries that are read before the event loop gets a turn. */
const ROWS_PER_SLICE = 2_000;

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
  readonly memory: ChainMemory;
  #keys: Promise<KeyPair> | undefined;
  #working: Promise<unknown> = Promise.resolve();
  /** Heads that checkpoints cover, as far as they were read. */
  readonly #signed = new Map<string, Head>();
  #readUpTo = 0;
  #entriesUpTo = 0;
  #sinceFull = 0;
  #own: string | undefined;

  constructor(db: Database, keeper: CheckpointKeeper, clock: Clock, memory = new ChainMemory(clock)) {
    this.#db = db;
    this.#keeper = keeper;
    this.#clock = clock;
    this.memory = memory;
  }

  /**
   * Writes a checkpoint over the chain of this window and over what dead windows left, unless all of it is signed already. One at a
   * time. Rejects with VaultError or StoreError.
   */
  sign(chain: string, head: Head): Promise<void> {
    return this.#inTurn(() => this.#sign(chain, head));
  }

  /** Remembers, outside the database, how far the chain of this window is. Rejects if the keyring can't be written. */
  async beat(chain: string, head: Head): Promise<void> {
    if (!this.memory.works) return;
    await this.#db.sync();
    await this.memory.note(chain, head, this.#own);
  }

  /** Writes a tombstone: a checkpoint that says what retention is about to drop. */
  signDrop(chain: string, head: Head, dropped: Dropped): Promise<void> {
    return this.#inTurn(async () => {
      await this.#sign(chain, head, dropped);
      for (const [gone, n] of dropped.chains) if ((this.#signed.get(gone)?.n ?? 0) <= n) this.#signed.delete(gone);
    });
  }

  /** Signs any text with the same key, as a compact JWS of type `type`: the manifest of an export. */
  async signText(type: string, text: string): Promise<string> {
    const { privateKey } = await this.#keyPair();
    return new CompactSign(Buffer.from(text, 'utf8')).setProtectedHeader({ alg: 'EdDSA', typ: type }).sign(privateKey);
  }

  /** The key that checks signatures, as JWK (RFC 8037). */
  async publicKey(): Promise<JWK> {
    return (await this.#keyPair()).openJwk;
  }

  /** The payload of a checkpoint whose signature holds. */
  async open(jws: string): Promise<CheckpointPayload | undefined> {
    const { publicKey } = await this.#keyPair();
    try {
      const { payload } = await compactVerify(jws, publicKey, { algorithms: ['EdDSA'] });
      return CheckpointPayload.parse(JSON.parse(Buffer.from(payload).toString('utf8')));
    } catch {
      return undefined;
    }
  }

  /** Digest of the newest checkpoint that any window of this installation signed. */
  last(): Promise<string | undefined> {
    return this.#keeper.get('last-checkpoint');
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#working.catch(() => undefined).then(work);
    this.#working = turn;
    return turn;
  }

  async #sign(chain: string, head: Head, dropped?: Dropped): Promise<void> {
    const missing = await this.#missing();
    const recent = await this.#read();
    const remembered = await this.memory.chains();
    const { heads, adopted, upTo, settled } = await this.#moved(chain, head, remembered);
    const full = this.#sinceFull >= FULL_EVERY;
    if (missing === undefined && heads.size === 0 && !dropped) return;
    if (full) for (const [known, at] of this.#signed) if (!heads.has(known)) heads.set(known, at);
    const named = new Set(recent.flatMap(({ payload }) => [payload.previous, ...(payload.also ?? [])]));
    const leaves = recent.map(({ digest }) => digest).filter((digest) => !named.has(digest));
    // One that should be there and isn't is named as the predecessor, so that a cut stays visible after this signature.
    const previous = missing ?? leaves.at(-1) ?? '';
    const also = leaves.filter((digest) => digest !== previous);
    const payload: CheckpointPayload = {
      v: 2,
      at: this.#clock.now(),
      previous,
      ...(also.length > 0 ? { also } : {}),
      by: chain,
      ...(full || recent.length === 0 ? { full: true } : {}),
      upTo,
      heads: [...heads].map(([id, { n, hash }]) => [id, n, hash] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
      ...(adopted.length > 0 ? { adopted } : {}),
      ...(dropped ? { dropped } : {}),
    };
    const jws = await this.signText('culvert-checkpoint+jws', JSON.stringify(payload));
    this.#db.run('INSERT INTO checkpoint (at, jws) VALUES (?, ?)', payload.at, jws);
    // What the keyring remembers must not be lost with the power.
    await this.#db.sync();
    this.#own = digestOf(jws);
    await this.#keeper.set('last-checkpoint', this.#own);
    if (this.memory.works) {
      if (settled.length > 0) await this.memory.forget(settled);
      await this.memory.note(chain, head, this.#own);
    }
  }

  /** Heads that differ from what is signed: this window's, and what windows left that are gone. */
  async #moved(own: string, head: Head, remembered: Awaited<ReturnType<ChainMemory['chains']>>) {
    const heads = new Map<string, Head>();
    const settled = new Set<string>();
    let upTo = this.#entriesUpTo;
    /** First entry of a live window that it has not signed: to be looked at again, should the window be gone by then. */
    let notSigned: number | undefined;
    let count = 0;
    for (const row of this.#db.iterate('SELECT seq, chain, n, hash FROM audit WHERE seq > ? ORDER BY seq', upTo)) {
      const chain = String(row['chain']);
      const [n, hash] = [Number(row['n']), String(row['hash'])];
      upTo = Number(row['seq']);
      if (++count % ROWS_PER_SLICE === 0) await new Promise(setImmediate);
      if (chain === own) continue;
      const mind = remembered.get(chain);
      // A live window signs for itself; a chain that nobody began is not made good by a signature.
      if (this.memory.works && (mind ? this.memory.isAlive(mind) : !this.#signed.has(chain))) {
        if (mind && n > (this.#signed.get(chain)?.n ?? 0)) notSigned ??= upTo;
        continue;
      }
      if (mind?.n === n && mind.hash === hash) settled.add(chain);
      heads.set(chain, { n, hash });
    }
    for (const [chain, { n, hash }] of heads)
      if (this.#signed.get(chain)?.hash === hash || (this.#signed.get(chain)?.n ?? 0) > n) heads.delete(chain);
    const adopted = [...heads.keys()];
    if (head.n > 0 && this.#signed.get(own)?.hash !== head.hash) heads.set(own, head);
    return { heads, adopted, upTo: notSigned === undefined ? upTo : notSigned - 1, settled: [...settled] };
  }

  /** Reads checkpoints that are new since the last time; at first back to one that names all chains. Gives the newest ones, oldest first. */
  async #read(): Promise<Stored[]> {
    const fresh: Stored[] = [];
    const recent: Stored[] = [];
    let atFull = false;
    for (const row of this.#db.iterate('SELECT id, jws FROM checkpoint ORDER BY id DESC')) {
      const id = Number(row['id']);
      atFull ||= id <= this.#readUpTo;
      if (atFull && recent.length >= LEAF_DISTANCE) break;
      const jws = String(row['jws']);
      const payload = await this.open(jws);
      if (!payload) continue;
      const stored = { id, digest: digestOf(jws), payload };
      if (recent.length < LEAF_DISTANCE) recent.unshift(stored);
      if (!atFull) fresh.unshift(stored);
      atFull ||= payload.v === undefined || payload.full === true;
    }
    for (const { id, payload } of fresh) {
      this.#readUpTo = Math.max(this.#readUpTo, id);
      this.#entriesUpTo = Math.max(this.#entriesUpTo, payload.upTo ?? 0);
      this.#sinceFull = payload.v === undefined || payload.full === true ? 0 : this.#sinceFull + 1;
      for (const [chain, n, hash] of payload.heads) if ((this.#signed.get(chain)?.n ?? 0) <= n) this.#signed.set(chain, { n, hash });
      for (const [chain, n] of payload.dropped?.chains ?? []) if ((this.#signed.get(chain)?.n ?? 0) <= n) this.#signed.delete(chain);
    }
    return recent;
  }

  /** Digest of this installation's newest checkpoint, if the database no longer has it. */
  async #missing(): Promise<string | undefined> {
    const expected = await this.#keeper.get('last-checkpoint');
    if (expected === undefined) return undefined;
    for (const row of this.#db.iterate('SELECT jws FROM checkpoint ORDER BY id DESC'))
      if (digestOf(String(row['jws'])) === expected) return undefined;
    return expected;
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
    const openJwk: JWK = { ...jwk };
    delete openJwk.d;
    return {
      privateKey: (await importJWK(jwk, 'EdDSA')) as webcrypto.CryptoKey,
      publicKey: (await importJWK(openJwk, 'EdDSA')) as webcrypto.CryptoKey,
      openJwk,
    };
  }
}

/** How a checkpoint is named elsewhere: SHA-256 of its compact JWS, hex. */
export function digestOf(jws: string): string {
  return hash('sha256', jws);
}
