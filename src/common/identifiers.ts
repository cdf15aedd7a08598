import { randomBytes, randomUUID } from 'node:crypto';

/** Ids that Culvert makes: lower-case letters, digits and hyphens, safe in file names, URLs and argv. */
export const ID_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** A fresh id: `prefix` and about 100 random bits in hex, from a random UUID (RFC 9562), which Node makes from a buffered source. */
export function newId(prefix: string): string {
  const uuid = randomUUID();
  return `${prefix}-${uuid.slice(0, 8)}${uuid.slice(9, 13)}${uuid.slice(24)}`;
}

/** What the ids of this process begin with: 64 random bits. */
const OWN = randomBytes(8).toString('hex');
let count = 0;

/** A fresh id like {@link newId}, made of one random number for the process and a count: for what there are thousands of a second. Can be guessed. */
export function nextId(prefix: string): string {
  return `${prefix}-${OWN}${(++count).toString(16).padStart(8, '0')}`;
}

/** A capability token: 256 random bits, base64url, 43 characters. */
export function newToken(): string {
  return randomBytes(32).toString('base64url');
}
