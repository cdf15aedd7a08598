import { Secret } from '../secret.ts';
import { CredentialError } from '../source.ts';
import type { OutputFormat } from '../sourceSpec.ts';

/** What was read from the output of a program or a file. */
export interface Output {
  readonly secret: Secret;
  /** Milliseconds since the epoch. */
  readonly validUntil?: number;
  readonly parts?: Readonly<Record<string, Secret>>;
}

/** Fields under which programs give a token, and its end: OAuth responses, `az`, `gcloud`, Kubernetes' ExecCredential. */
const TOKEN_FIELDS = ['/access_token', '/accessToken', '/token', '/status/token', '/credential/access_token'] as const;
const END_FIELDS = [
  '/expires_on',
  '/expiration',
  '/expiry',
  '/token_expiry',
  '/expires_at',
  '/expiresAt',
  '/status/expirationTimestamp',
  '/Expiration',
] as const;

/**
 * Reads a value from text. `who` names the program or file in messages, which never quote the text. Throws {@link CredentialError} of the
 * step `output`.
 */
export function readOutput(text: string, format: OutputFormat, field: string | undefined, who: string, now: number): Output {
  const trimmed = text.replace(/^\ufeff/, '').replace(/[\r\n]+$/, '');
  if (trimmed.trim() === '') throw unusable(who, 'it gave nothing');
  switch (format) {
    case 'auto':
      return readOutput(text, guess(trimmed, field), field, who, now);
    case 'text':
      if (/[\r\n]/.test(trimmed) && !trimmed.startsWith('-----BEGIN ')) throw unusable(who, 'it gave several lines where one was expected');
      return { secret: new Secret(trimmed) };
    case 'first-line':
      return { secret: new Secret(trimmed.split(/\r?\n/, 1)[0] ?? '') };
    case 'json':
      return readJson(trimmed, field, who, now);
    case 'aws':
      return readAws(trimmed, who);
    case 'git':
      return readGit(trimmed, who);
  }
}

function guess(text: string, field: string | undefined): OutputFormat {
  if (field !== undefined) return 'json';
  if (text.trimStart().startsWith('{')) return /"SecretAccessKey"\s*:/.test(text) ? 'aws' : 'json';
  return /^password=/m.test(text) ? 'git' : 'text';
}

function readJson(text: string, field: string | undefined, who: string, now: number): Output {
  const data = parse(text, who);
  const value = field === undefined ? firstText(data, TOKEN_FIELDS) : at(data, field);
  if (typeof value !== 'string' || value === '')
    throw unusable(
      who,
      field === undefined ? 'its JSON holds no token where programs put one; name the field' : `its JSON has no text at ${field}`,
    );
  const validUntil = endOf(data, now);
  return { secret: new Secret(value), ...(validUntil === undefined ? {} : { validUntil }) };
}

/** https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html */
function readAws(text: string, who: string): Output {
  const data = parse(text, who);
  const [id, key, token, end] = ['/AccessKeyId', '/SecretAccessKey', '/SessionToken', '/Expiration'].map((field) => at(data, field));
  if (typeof id !== 'string' || typeof key !== 'string' || id === '' || key === '')
    throw unusable(who, 'its JSON is not that of an AWS credential process');
  const validUntil = instant(end);
  return {
    secret: new Secret(key),
    parts: { accessKeyId: new Secret(id), ...(typeof token === 'string' && token !== '' ? { sessionToken: new Secret(token) } : {}) },
    ...(validUntil === undefined ? {} : { validUntil }),
  };
}

/** git-credential(1), input/output format. */
function readGit(text: string, who: string): Output {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, value] = /^([a-z_]+)=(.*?)\r?$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) fields.set(name, value);
  }
  const password = fields.get('password');
  if (password === undefined || password === '') throw unusable(who, 'it gave no line password=…');
  const user = fields.get('username');
  const end = Number(fields.get('password_expiry_utc') ?? Number.NaN);
  return {
    secret: new Secret(password),
    ...(user === undefined ? {} : { parts: { username: new Secret(user) } }),
    ...(Number.isFinite(end) ? { validUntil: end * 1000 } : {}),
  };
}

function parse(text: string, who: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The words of the parser quote the text.
    throw unusable(who, 'it gave no JSON');
  }
}

function at(data: unknown, pointer: string): unknown {
  let value = data;
  for (const part of pointer.slice(1).split('/')) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

function firstText(data: unknown, fields: readonly string[]): unknown {
  return fields.map((field) => at(data, field)).find((value) => typeof value === 'string');
}

function endOf(data: unknown, now: number): number | undefined {
  for (const field of END_FIELDS) {
    const end = instant(at(data, field));
    if (end !== undefined) return end;
  }
  const seconds = at(data, '/expires_in');
  return typeof seconds === 'number' && seconds > 0 ? now + seconds * 1000 : undefined;
}

/** An instant as programs write it: RFC 3339, or seconds since the epoch. */
function instant(value: unknown): number | undefined {
  const seconds = typeof value === 'number' ? value : typeof value === 'string' && /^\d{9,11}$/.test(value) ? Number(value) : undefined;
  if (seconds !== undefined) return seconds * 1000;
  // Without a zone it could mean anything: better unknown.
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-]\d\d:?\d\d)$/.test(value)) return undefined;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : at;
}

function unusable(who: string, why: string): CredentialError {
  return new CredentialError(
    'CULVERT_CREDENTIAL_OUTPUT',
    'output',
    `${who} gave nothing that can be used: ${why}. Run it yourself to see what it says, or change it with “Culvert: Replace Credential…”.`,
    {
      forAgent: `${who} gave nothing that can be used. The user can look at it with “Culvert: Test Credential…”.`,
      action: 'replace',
    },
  );
}
