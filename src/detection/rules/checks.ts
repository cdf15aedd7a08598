import { crc32 } from 'node:zlib';
import type { Check } from './rule.ts';

/** Whether a check holds; undefined if it says nothing about this text. */
export function checkHolds(check: Check, secret: string): boolean | undefined {
  switch (check) {
    case 'crc32-github':
      return hasGithubChecksum(secret);
    case 'jwt':
      return isJwt(secret);
    case 'not-placeholder':
      return !isPlaceholder(secret);
    case 'mixed':
      return isMixed(secret);
    case 'basic-credentials':
      return isBasic(secret);
  }
}

/** Shannon entropy, bits a character. */
export function entropyOf(text: string): number {
  const counts = new Map<string, number>();
  for (const c of text) counts.set(c, (counts.get(c) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length);
  return bits;
}

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/**
 * The last six characters are the CRC-32 of those before them, in base 62 (GitHub: "Behind GitHub's new authentication token formats", 2021; npm took over
 * the format).
 */
function hasGithubChecksum(secret: string): boolean {
  const body = secret.slice(secret.indexOf('_') + 1);
  return githubChecksum(body.slice(0, -6)) === body.slice(-6);
}

/** The checksum that GitHub and npm append to a token's random part. */
export function githubChecksum(body: string): string {
  let out = '';
  for (let rest = crc32(body); rest > 0; rest = Math.floor(rest / 62)) out = BASE62.charAt(rest % 62) + out;
  return out.padStart(6, '0');
}

/** Whether header and payload are JSON objects (RFC 7519). */
function isJwt(secret: string): boolean {
  const [header = '', payload = ''] = secret.slice(secret.lastIndexOf('eyJ', secret.indexOf('.'))).split('.');
  const read = (part: string) => Buffer.from(part, 'base64url').toString('latin1');
  return /^\{\s*"[\w#]+"\s*:/.test(read(header)) && (payload === '' || /^\{\s*"/.test(read(payload)) || read(header).includes('"enc"'));
}

/** Whether a value as a whole stands for something to be filled in. Nobody's secret is called like that. */
function isPlaceholder(secret: string): boolean {
  const text = secret.toLowerCase();
  return (
    /^[<$%{[*]|^\.{3}|[>}]$|\$\{|\{\{|%s|\*{3}|x{4}|\.{3}$/.test(text) ||
    /^(?:your|my|the|some|insert|enter|replace|change|example|sample|dummy|test|fake|placeholder|secret|password|token|process\.env|os\.environ|env)(?![a-z0-9])/.test(
      text,
    ) ||
    new Set(text).size < 5 ||
    /0123456789|123456789|abcdefgh(?:ij)?$|abcdef0|deadbeef|1234567|abcd1234/.test(text)
  );
}

/** Letters and digits both, or letters of both cases with a sign: not a word, a path or a version. */
function isMixed(secret: string): boolean {
  const kinds = [/\d/, /[a-z]/, /[A-Z]/, /[^0-9A-Za-z]/].filter((kind) => kind.test(secret)).length;
  return /\d/.test(secret) ? kinds >= 2 && /[a-z]/i.test(secret) : kinds >= 3;
}

/** User and password, as `Authorization: Basic` has them (RFC 7617). */
function isBasic(secret: string): boolean {
  const text = Buffer.from(secret, 'base64').toString('latin1');
  const password = text.slice(text.indexOf(':') + 1);
  return (
    /^[\x20-\x7e\xa0-\xff]+$/.test(text) &&
    text.includes(':') &&
    password.length >= 6 &&
    !isPlaceholder(password) &&
    /[^a-z]/.test(password)
  );
}
