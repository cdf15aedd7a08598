import { randomBytes } from 'node:crypto';

/** Ids that Culvert makes: lower-case letters, digits and hyphens, safe in file names, URLs and argv. */
export const ID_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;

const ALPHABET = '0123456789abcdefghijklmnopqrstuv';

/** A fresh id: `prefix` and 80 random bits in base32hex. */
export function newId(prefix: string): string {
  let out = '';
  for (const byte of randomBytes(16)) out += ALPHABET.charAt(byte & 31);
  return `${prefix}-${out}`;
}

/** A capability token: 256 random bits, base64url, 43 characters. */
export function newToken(): string {
  return randomBytes(32).toString('base64url');
}
