import type { Placement } from './credential.ts';
import type { Secret } from './secret.ts';
import type { Resolved } from './source.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from './vault.ts';

/** What a credential adds to a request. The URL and the headers hold the secret: they go to the connection and nowhere else. */
export interface Injected {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Variables for the process of the server. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Puts `secret` on a request to `url` as `placement` says. Pure. */
export function inject(url: URL, placement: Placement, secret: Secret): Injected {
  switch (placement.kind) {
    case 'bearer':
      return { url, headers: { authorization: `Bearer ${secret.expose()}` } };
    case 'header':
      return { url, headers: { [placement.name.toLowerCase()]: secret.expose() } };
    case 'basic':
      return {
        url,
        headers: { authorization: `Basic ${Buffer.from(`${placement.username}:${secret.expose()}`, 'utf8').toString('base64')}` },
      };
    case 'query': {
      const changed = new URL(url);
      changed.searchParams.set(placement.name, secret.expose());
      return { url: changed, headers: {} };
    }
    case 'environment':
      return { url, headers: {}, environment: { [placement.name]: secret.expose() } };
    case 'client-key':
      return { url, headers: {} };
  }
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
  if (placement.kind === 'environment' && value.includes('\0')) return 'The secret holds a character that can’t stand in a variable.';
  if (placement.kind === 'client-key' && !/^-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+-----END [A-Z ]*PRIVATE KEY-----$/.test(value))
    return 'Paste the private key in PEM form, from -----BEGIN to -----END.';
  if (placement.kind === 'bearer' && /^bearer\s/i.test(value)) return 'Leave out “Bearer”: Culvert adds it.';
  return undefined;
}

/** The same for what a source gave. */
export function refuseResolved(placement: Placement, { secret }: Resolved): string | undefined {
  return refuseValue(secret.expose(), placement, { min: MIN_SECRET_CHARACTERS, max: MAX_SECRET_CHARACTERS });
}
