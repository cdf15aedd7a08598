import { z } from 'zod';
import { ID_PATTERN } from '../common/identifiers.ts';

/** Longest label in characters; it is shown in lists and sent to agents as the server's name. */
export const MAX_LABEL_CHARACTERS = 60;

/** A MCP server that Culvert fronts. Plain data, stored with a MAC; holds no secret. */
export const Server = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(ID_PATTERN),
  /** Unique among servers; VS Code finds a definition by it. */
  label: z.string().min(1).max(MAX_LABEL_CHARACTERS),
  upstream: z.strictObject({
    kind: z.literal('http'),
    /** Endpoint of Streamable HTTP, `http:` or `https:`, no user info, no fragment. */
    url: z.url({ protocol: /^https?$/ }).refine((text) => {
      if (!URL.canParse(text)) return false;
      const { username, password, hash } = new URL(text);
      return username === '' && password === '' && hash === '';
    }, 'The URL must not hold a user name, a password or a fragment.'),
  }),
  /** Ids of the credentials that are placed on every request. */
  credentials: z.array(z.string()).readonly(),
  /** Milliseconds since the epoch. */
  createdAt: z.number().int(),
});
export type Server = z.infer<typeof Server>;

const origins = new Map<string, string>();
const MAX_ORIGINS = 1000;

/** Scheme, host and port of a URL, as credentials are bound to it: `https://api.example.com` or `http://127.0.0.1:3001`. */
export function originOf(url: string): string {
  let origin = origins.get(url);
  if (origin === undefined) {
    origin = new URL(url).origin;
    if (origins.size >= MAX_ORIGINS) origins.clear();
    origins.set(url, origin);
  }
  return origin;
}

/** Host and port for showing where a call goes. */
export function destinationOf(server: Server): string {
  return new URL(server.upstream.url).host;
}
