import { hash, timingSafeEqual } from 'node:crypto';
import { newToken } from '../common/identifiers.ts';
import type { Principal } from '../mcp/principal.ts';

/** Permission to talk to the tunnel as one principal to one server. The token itself is not kept, only its SHA-256. */
export interface Capability {
  readonly id: string;
  readonly principal: Principal;
  readonly server: string;
}

interface Entry extends Capability {
  readonly digest: Buffer;
  revoked: boolean;
}

/** Outcome of authenticating a request. `expired` is one of our own tokens that no longer counts. */
export type Authentication =
  { readonly kind: 'ok'; readonly capability: Capability } | { readonly kind: 'expired' } | { readonly kind: 'unknown' };

/** Longest `Authorization` header that is looked at, characters. */
const MAX_HEADER_CHARACTERS = 512;

/** Revoked tokens that are remembered, so that their holders are told to come again instead of being turned away. */
const MAX_REVOKED = 4096;

/** Issues, checks and revokes the capability tokens of one window. */
export class Capabilities {
  readonly #byDigest = new Map<string, Entry>();
  readonly #byId = new Map<string, Entry>();
  /** By connection: what it showed last, and what that was good for. */
  readonly #shown = new WeakMap<object, { readonly header: Buffer; readonly entry: Entry }>();
  #serial = 0;

  /** Makes a capability and its token: 256 random bits. The token is given out once. */
  issue(principal: Principal, server: string): { readonly capability: Capability; readonly token: string } {
    const token = newToken();
    const digest = digestOf(token);
    const entry: Entry = { id: `cap-${++this.#serial}`, principal, server, digest, revoked: false };
    this.#byDigest.set(digest.toString('hex'), entry);
    this.#byId.set(entry.id, entry);
    return { capability: entry, token };
  }

  /** A capability that counts. */
  get(id: string): Capability | undefined {
    return this.#byId.get(id);
  }

  /**
   * Checks an `Authorization` header for a server. The token is hashed before it is looked up, so the time taken tells nothing about
   * a stored one; the digests are then compared in constant time. Where a `connection` shows again what it showed before and was good, it
   * is not hashed anew; compared in constant time, too.
   */
  authenticate(header: string | undefined, server: string, connection?: object): Authentication {
    const shown = connection && this.#shown.get(connection);
    if (shown?.entry.server === server && header !== undefined && isSame(shown.header, header)) return standingOf(shown.entry);
    if (header === undefined || header.length > MAX_HEADER_CHARACTERS) return { kind: 'unknown' };
    const match = /^Bearer ([A-Za-z0-9_-]{43})$/i.exec(header);
    if (match?.[1] === undefined) return { kind: 'unknown' };
    const digest = digestOf(match[1]);
    const entry = this.#byDigest.get(digest.toString('hex'));
    if (!entry || !timingSafeEqual(entry.digest, digest) || entry.server !== server) return { kind: 'unknown' };
    if (connection) this.#shown.set(connection, { header: Buffer.from(header), entry });
    return standingOf(entry);
  }

  revoke(id: string): void {
    const entry = this.#byId.get(id);
    if (!entry) return;
    entry.revoked = true;
    this.#byId.delete(id);
    this.#forgetOldest();
  }

  /** Revokes every capability of a server and returns their ids. */
  revokeServer(server: string): string[] {
    const ids: string[] = [];
    for (const entry of [...this.#byId.values()]) {
      if (entry.server !== server) continue;
      entry.revoked = true;
      this.#byId.delete(entry.id);
      ids.push(entry.id);
    }
    this.#forgetOldest();
    return ids;
  }

  #forgetOldest(): void {
    let revoked = [...this.#byDigest.values()].filter((e) => e.revoked).length;
    for (const [key, entry] of this.#byDigest) {
      if (revoked <= MAX_REVOKED) return;
      if (!entry.revoked) continue;
      this.#byDigest.delete(key);
      revoked--;
    }
  }
}

function standingOf(entry: Entry): Authentication {
  return entry.revoked ? { kind: 'expired' } : { kind: 'ok', capability: entry };
}

function isSame(shown: Buffer, header: string): boolean {
  if (header.length !== shown.length) return false;
  const bytes = Buffer.from(header);
  return bytes.length === shown.length && timingSafeEqual(bytes, shown);
}

function digestOf(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}
