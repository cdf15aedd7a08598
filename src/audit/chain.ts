import { hash } from 'node:crypto';

/**
 * Hash of an entry over the one before it: SHA-256, hex, of the seven parts with a line feed between each two. None can hold a line feed:
 * ids and numbers don't, and JSON writes it as an escape. Published in docs/audit-format.md.
 */
export function entryHash(
  previous: string,
  chain: string,
  n: number,
  at: number,
  kind: string,
  exchange: string | null,
  body: string,
): string {
  return hash('sha256', `${previous}\n${chain}\n${n}\n${at}\n${kind}\n${exchange ?? ''}\n${body}`);
}

/** Last entry of a chain: its number, from 1, and its hash, hex. */
export interface Head {
  readonly n: number;
  readonly hash: string;
}
