import { SECRET_MARK, type Placement } from './credential.ts';
import type { Secret } from './secret.ts';
import { signV4 } from './sigv4.ts';
import type { Resolved } from './source.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from './vault.ts';

/** What a credential adds to a request. The URL and the headers hold the secret: they go to the connection and nowhere else. */
export interface Injected {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Variables for the process of the server. */
  readonly environment?: Readonly<Record<string, string>>;
  /** `name=value`; several credentials share one header. */
  readonly cookie?: string;
}

/** A value with what its source gave beside it. */
export type Value = Pick<Resolved, 'secret' | 'parts'>;

/** Puts `secret` on a request to `url` as `placement` says. Pure. Signatures and arguments are the work of {@link sign} and arguments.ts. */
export function inject(url: URL, placement: Placement, secret: Secret, parts?: Resolved['parts']): Injected {
  switch (placement.kind) {
    case 'bearer':
      return { url, headers: { authorization: `Bearer ${secret.expose()}` } };
    case 'header': {
      const { name, template } = placement;
      const value = template === undefined ? secret.expose() : template.split(SECRET_MARK).join(secret.expose());
      return { url, headers: { [name.toLowerCase()]: value } };
    }
    case 'basic': {
      const user = placement.username ?? parts?.['username']?.expose() ?? '';
      return { url, headers: { authorization: `Basic ${Buffer.from(`${user}:${secret.expose()}`, 'utf8').toString('base64')}` } };
    }
    case 'query': {
      const changed = new URL(url);
      changed.searchParams.set(placement.name, secret.expose());
      return { url: changed, headers: {} };
    }
    case 'cookie':
      return { url, headers: {}, cookie: `${placement.name}=${secret.expose()}` };
    case 'environment':
      return { url, headers: {}, environment: { [placement.name]: secret.expose() } };
    case 'aws-sigv4':
    case 'argument':
    case 'client-key':
      return { url, headers: {} };
  }
}

/** Headers that the agent’s client and the protocol set and that nobody changes on the way: signed too. */
const SIGNED = ['content-type', 'mcp-session-id', 'mcp-protocol-version'] as const;

/** Whether what a placement adds depends on the whole request: {@link sign} makes it. */
export function isSigned(placement: Placement): boolean {
  return placement.kind === 'aws-sigv4';
}

/** Headers that sign a request as it goes out, where the placement is a signature. Pure. */
export function sign(
  placement: Placement,
  { secret, parts }: Value,
  request: {
    readonly method: string;
    readonly url: URL;
    readonly headers: Readonly<Record<string, string | string[]>>;
    readonly body: Buffer | undefined;
  },
  now: number,
): Record<string, string> | undefined {
  if (placement.kind !== 'aws-sigv4') return undefined;
  const headers: Record<string, string> = {};
  for (const name of SIGNED) {
    const value = request.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  const accessKeyId = placement.accessKeyId ?? parts?.['accessKeyId']?.expose() ?? '';
  return signV4(
    { method: request.method, url: request.url, headers, body: request.body },
    { accessKeyId, secretAccessKey: secret, sessionToken: parts?.['sessionToken'] },
    { region: placement.region, service: placement.service, now },
  );
}

/** Why a value can't be used with a placement, in words for an input box; `undefined` if it can. */
export function refuseValue(
  value: string,
  placement: Placement,
  limits: { readonly min: number; readonly max: number },
): string | undefined {
  if (value.trim() !== value) return 'The secret begins or ends with white space. Remove it.';
  if (value.length < limits.min)
    return `The secret has fewer than ${limits.min} characters, too short to be recognised safely when it leaks.`;
  if (value.length > limits.max) return `The secret has more than ${limits.max} characters.`;
  // RFC 9110, 5.5: a field value is visible ASCII, spaces and tabs (obs-text is refused by Node).
  if ((placement.kind === 'bearer' || placement.kind === 'header') && !/^[\x20-\x7e]+$/.test(value))
    return 'The secret holds characters that can’t stand in a header.';
  // RFC 6265, 4.1.1: cookie-octet.
  if (placement.kind === 'cookie' && !/^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/.test(value))
    return 'The secret holds characters that can’t stand in a cookie.';
  if (placement.kind === 'environment' && value.includes('\0')) return 'The secret holds a character that can’t stand in a variable.';
  if (placement.kind === 'client-key' && !/^-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+-----END [A-Z ]*PRIVATE KEY-----$/.test(value))
    return 'Paste the private key in PEM form, from -----BEGIN to -----END.';
  if (placement.kind === 'bearer' && /^bearer\s/i.test(value)) return 'Leave out “Bearer”: Culvert adds it.';
  if (placement.kind === 'header' && placement.template !== undefined && value.includes(SECRET_MARK))
    return `The secret holds ${SECRET_MARK} itself.`;
  return undefined;
}

/** The same for what a source gave. */
export function refuseResolved(placement: Placement, { secret, parts }: Value): string | undefined {
  const problem = refuseValue(secret.expose(), placement, { min: MIN_SECRET_CHARACTERS, max: MAX_SECRET_CHARACTERS });
  if (problem !== undefined) return problem;
  if (placement.kind === 'basic' && placement.username === undefined) {
    const user = parts?.['username']?.expose() ?? '';
    if (user === '' || user.includes(':')) return 'It gave no user name, and basic authentication needs one.';
  }
  if (placement.kind === 'aws-sigv4') {
    if (placement.accessKeyId === undefined && !parts?.['accessKeyId']) return 'It gave no access key id, and the AWS signature needs one.';
    if (parts?.['sessionToken'] && !/^[\x21-\x7e]+$/.test(parts['sessionToken'].expose()))
      return 'Its session token holds characters that can’t stand in a header.';
  }
  return undefined;
}
