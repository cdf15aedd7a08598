import type { Credential } from './credential.ts';
import { scopesOf } from './sources/describe.ts';

/** A credential that nobody used for this long may go. Milliseconds. */
export const UNUSED_MS = 30 * 24 * 3600_000;

/** Scopes that let do about everything, as providers name them. */
const BROAD = /(^|[:/.])(admin|root|all|owner|full|\*|\.default|delete_repo|repo|workflow|write:packages|cloud-platform)([:/._-]|$)/i;

/** What hints are made from. */
export interface HintFacts {
  /** Number of servers that use it. */
  readonly servers: number;
  /** Milliseconds since the epoch; absent: never. */
  readonly lastUse: number | undefined;
  /** Scopes as the source told them, if it did. */
  readonly scopes: readonly string[] | undefined;
  readonly now: number;
}

/** What could be better about a credential, each a sentence with what to do. Pure. */
export function hintsOf(credential: Credential, { servers, lastUse, scopes, now }: HintFacts): string[] {
  const hints: string[] = [];
  const since = lastUse ?? credential.replacedAt ?? credential.createdAt;
  if (servers === 0) hints.push('No server uses it. Forget it if nothing needs it.');
  else if (now - since > UNUSED_MS)
    hints.push(`It was not used for ${Math.floor((now - since) / 86_400_000)} days. Forget it if nothing needs it.`);
  const broad = (scopes ?? scopesOf(credential)).filter((scope) => BROAD.test(scope));
  if (broad.length > 0) hints.push(`It may do a lot (${broad.slice(0, 3).join(', ')}). One with fewer scopes does less harm if it leaks.`);
  if (credential.origins.length > 1)
    hints.push(`It may go to ${credential.origins.length} places. One for each does less harm if it leaks.`);
  if (credential.placement.kind === 'query')
    hints.push('It goes in the address, which ends up in logs. Use a header if the server takes one.');
  if (credential.origins.some((origin) => origin.startsWith('http://') && !/^http:\/\/(localhost|127\.|\[::1\])/.test(origin)))
    hints.push('It goes over plain http://, where the network can read it.');
  return hints;
}
