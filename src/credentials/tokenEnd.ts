/** Longest token that is looked into, characters. */
const MAX_TOKEN_CHARACTERS = 8_192;

/** When a token ends by its own words, milliseconds since the epoch: the claim `exp` of a JWT (RFC 7519, 4.1.4). Not verified, for showing. */
export function endOfToken(value: string): number | undefined {
  if (value.length > MAX_TOKEN_CHARACTERS) return undefined;
  const [, payload] = /^[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*$/.exec(value) ?? [];
  if (payload === undefined) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
    const end = typeof claims === 'object' && claims !== null && 'exp' in claims ? claims.exp : undefined;
    return typeof end === 'number' && end > 1e9 && end < 1e11 ? end * 1000 : undefined;
  } catch {
    return undefined;
  }
}
