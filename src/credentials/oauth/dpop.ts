import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { PrivateJwk } from './state.ts';

/** Nonces that are remembered, one per origin. */
const MAX_NONCES = 64;
/** Longest nonce, characters. */
const MAX_NONCE_CHARACTERS = 512;

/** A fresh key for proofs (ES256). */
export function newProofKey(): PrivateJwk {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return PrivateJwk.parse(privateKey.export({ format: 'jwk' }));
}

/**
 * Signs proofs of possession (RFC 9449) with one key and remembers the nonces that servers give, each for its own origin. Not through `jose`:
 * a proof goes with every call, and signing at once instead of in steps of promises takes a fraction of the time.
 */
export class Prover {
  readonly #key: KeyObject;
  readonly #header: string;
  readonly #nonces = new Map<string, string>();
  #hashed: { readonly token: string; readonly hash: string } | undefined;

  constructor(jwk: PrivateJwk) {
    const { kty, crv, x, y } = jwk;
    this.#key = createPrivateKey({ key: jwk, format: 'jwk' });
    this.#header = encode({ typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } });
  }

  /** A proof for one request; `accessToken` where it goes along (RFC 9449, 4.2). `now`: milliseconds since the epoch. */
  proof(method: string, url: URL, now: number, accessToken?: string): string {
    const nonce = this.#nonces.get(url.origin);
    const payload = encode({
      jti: randomBytes(16).toString('base64url'),
      htm: method,
      htu: url.origin + url.pathname,
      iat: Math.floor(now / 1000),
      ...(accessToken === undefined ? {} : { ath: this.#hashOf(accessToken) }),
      ...(nonce === undefined ? {} : { nonce }),
    });
    const text = `${this.#header}.${payload}`;
    const signature = sign('sha256', Buffer.from(text, 'latin1'), { key: this.#key, dsaEncoding: 'ieee-p1363' });
    return `${text}.${signature.toString('base64url')}`;
  }

  /** Takes the nonce of an answer for the next proof to the same origin; true if it is another than before (RFC 9449, 8.2 and 9). */
  observe(url: URL, nonce: string | undefined): boolean {
    if (nonce === undefined || nonce === '' || nonce.length > MAX_NONCE_CHARACTERS || !/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(nonce))
      return false;
    if (this.#nonces.get(url.origin) === nonce) return false;
    if (this.#nonces.size >= MAX_NONCES) this.#nonces.clear();
    this.#nonces.set(url.origin, nonce);
    return true;
  }

  #hashOf(token: string): string {
    if (this.#hashed?.token !== token) this.#hashed = { token, hash: createHash('sha256').update(token, 'latin1').digest('base64url') };
    return this.#hashed.hash;
  }
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value), 'utf8').toString('base64url');
}
