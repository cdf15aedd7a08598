import { createHash, createHmac } from 'node:crypto';
import type { Secret } from './secret.ts';

/** Keys of an AWS identity. The session token is there with temporary ones. */
export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  readonly sessionToken?: Secret | undefined;
}

/** What is signed. Header names in lower case; `host` is taken from the URL. */
export interface SignableRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

/** Where and when a signature counts. */
export interface SigningScope {
  readonly region: string;
  readonly service: string;
  /** Milliseconds since the epoch. AWS takes a difference of five minutes. */
  readonly now: number;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';

/**
 * Headers that sign a request with AWS Signature Version 4 (AWS General Reference, “Signature Version 4 signing process”): `authorization`,
 * `x-amz-date`, and with temporary keys `x-amz-security-token`. Every header given in `request` is signed. Pure.
 */
export function signV4(request: SignableRequest, keys: AwsKeys, { region, service, now }: SigningScope): Record<string, string> {
  const at = new Date(now).toISOString().replace(/[:-]|\.\d{3}/g, '');
  const day = at.slice(0, 8);
  const bodyHash = sha256(request.body ?? Buffer.alloc(0));
  const added: Record<string, string> = {
    'x-amz-date': at,
    ...(keys.sessionToken ? { 'x-amz-security-token': keys.sessionToken.expose() } : {}),
    // S3 wants it, others take it where they are told so.
    ...(service === 's3' ? { 'x-amz-content-sha256': bodyHash } : {}),
  };
  const signed: Record<string, string> = { ...request.headers, ...added, host: request.url.host };
  const names = Object.keys(signed).sort();
  const canonical = [
    request.method,
    canonicalPath(request.url.pathname, service),
    canonicalQuery(request.url.search),
    ...names.map((name) => `${name}:${(signed[name] ?? '').trim().replace(/ +/g, ' ')}`),
    '',
    names.join(';'),
    bodyHash,
  ].join('\n');
  const scope = `${day}/${region}/${service}/aws4_request`;
  const toSign = [ALGORITHM, at, scope, sha256(Buffer.from(canonical, 'utf8'))].join('\n');
  const dayKey = hmac(`AWS4${keys.secretAccessKey.expose()}`, day);
  const key = hmac(hmac(hmac(dayKey, region), service), 'aws4_request');
  const signature = hmac(key, toSign).toString('hex');
  return {
    ...added,
    authorization: `${ALGORITHM} Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
  };
}

/** The path as URL standards leave it, encoded once more for all services but S3. */
function canonicalPath(path: string, service: string): string {
  if (service === 's3') return path === '' ? '/' : path;
  const normal = path.replace(/\/{2,}/g, '/');
  return normal
    .split('/')
    .map((segment) => encode(segment))
    .join('/');
}

/** Parameters in the order of their encoded names, then values. A plus sign is a plus sign here, no space. */
function canonicalQuery(search: string): string {
  if (search.length < 2) return '';
  return search
    .slice(1)
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=');
      return at < 0 ? ([recode(part), ''] as const) : ([recode(part.slice(0, at)), recode(part.slice(at + 1))] as const);
    })
    .sort(([a, x], [b, y]) => (a === b ? compare(x, y) : compare(a, b)))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function recode(text: string): string {
  try {
    return encode(decodeURIComponent(text));
  } catch {
    return encode(text);
  }
}

/** Everything but RFC 3986’s unreserved characters is encoded. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'utf8').digest();
}
