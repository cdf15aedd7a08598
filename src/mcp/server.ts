import { hash } from 'node:crypto';
import * as z from 'zod';
import { ID_PATTERN } from '../common/identifiers.ts';

/** Longest label in characters; it is shown in lists and sent to agents as the server's name. */
export const MAX_LABEL_CHARACTERS = 60;
/** Arguments and variables of a command, and characters of each. */
export const MAX_COMMAND_PARTS = 128;
export const MAX_COMMAND_PART_CHARACTERS = 4_096;
/** Plain headers of a server, and characters of each value. */
export const MAX_PLAIN_HEADERS = 32;
export const MAX_PLAIN_HEADER_CHARACTERS = 2_048;
/** Pinned public keys of a server: the one in use, its backups, and room for a change. */
export const MAX_PINS = 8;

/** Endpoint of a server, `http:` or `https:`, no user info, no fragment. */
const Endpoint = z.url({ protocol: /^https?$/ }).refine((text) => {
  if (!URL.canParse(text)) return false;
  const { username, password, hash: fragment } = new URL(text);
  return username === '' && password === '' && fragment === '';
}, 'The URL must not hold a user name, a password or a fragment.');

/** SHA-256 of a certificate's SubjectPublicKeyInfo, base64, as in RFC 7469, 2.4. */
export const Pin = z.string().regex(/^[A-Za-z0-9+/]{43}=$/, 'A pin is the base64 of a SHA-256: 43 characters and an equals sign.');

/** What makes a TLS connection to a server trusted, beyond the authorities of the system. */
export const Tls = z.strictObject({
  /** Certificates (PEM) of authorities that are trusted for this server too. */
  authorities: z
    .string()
    .max(512 * 1024)
    .optional(),
  /** The server's key, or one in its chain, must be one of these. */
  pins: z.array(Pin).min(1).max(MAX_PINS).readonly().optional(),
  /** Certificate chain (PEM) that we show; its private key is the value of the credential `keyCredential`. */
  clientCertificate: z.strictObject({ chain: z.string().max(512 * 1024), keyCredential: z.string().regex(ID_PATTERN) }).optional(),
  /** Certificates are not checked at all. Shown in red wherever the server is shown. */
  unverified: z.literal(true).optional(),
});
export type Tls = z.infer<typeof Tls>;

/** Headers of one connection (RFC 9110, 7.6.1), of the wire, of the protocol, and those that would change where a request goes or who sends it. */
const RESERVED_HEADER =
  /^(?:connection|keep-alive|te|trailers?|transfer-encoding|upgrade|expect|via|host|origin|referer|forwarded|from|date|dpop|accept|last-event-id|mcp-.*|content-.*|accept-.*|sec-.*|proxy-.*|x-forwarded-.*|x-real-ip|access-control-.*|:.*)$/i;
/** Headers that carry credentials: their values are sealed, never plain. */
const CREDENTIAL_HEADER =
  /^(?:authorization|www-authenticate|(?:set-)?cookie2?)$|(?:^|[-_])(?:token|secret|password|passwd|apikey|key|credentials?|auth|signature|session)$/i;

/** Why a header can't be a plain one, as a sentence; `undefined` if it can. */
export function refusePlainHeader(name: string): string | undefined {
  // RFC 9110, 5.6.2.
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/.test(name)) return 'A header is named with letters, digits and hyphens.';
  if (RESERVED_HEADER.test(name)) return 'That header is used by the protocol itself.';
  return CREDENTIAL_HEADER.test(name)
    ? 'That header carries a credential. Add it under “How it authenticates”, which seals it.'
    : undefined;
}

/** Headers without secrets that every request to a server carries, such as `X-MCP-Toolsets: repos`. Names differ in more than case. */
export const PlainHeaders = z
  .record(
    z.string().superRefine((name, context) => {
      const problem = refusePlainHeader(name);
      if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
    }),
    // RFC 9110, 5.5, without obs-text.
    z
      .string()
      .max(MAX_PLAIN_HEADER_CHARACTERS)
      .regex(/^(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?$/, 'A header’s value is plain text on one line.'),
  )
  .refine((headers) => Object.keys(headers).length <= MAX_PLAIN_HEADERS, `At most ${MAX_PLAIN_HEADERS} headers.`)
  .refine((headers) => {
    const names = Object.keys(headers).map((name) => name.toLowerCase());
    return new Set(names).size === names.length;
  }, 'The same header stands twice.');
export type PlainHeaders = z.infer<typeof PlainHeaders>;

/** What `ssh` is told to connect to: a host or alias of the user's own configuration, with or without a user. Never an option. */
export const SshDestination = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[A-Za-z0-9_.:@%[\]-]+$/, 'An SSH host is a name or alias, such as devbox or me@devbox.')
  .refine((text) => !text.startsWith('-'), 'An SSH host must not begin with a hyphen.');

const part = z
  .string()
  .max(MAX_COMMAND_PART_CHARACTERS)
  .refine((text) => !text.includes('\0'), 'A command holds no NUL.');
/** Name of an environment variable (POSIX.1-2017, 8.1), also in lower case. */
export const VariableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'A variable is named with letters, digits and underscores.');

/** Where a server is and how it is spoken to. */
export const UpstreamPlace = z.discriminatedUnion('kind', [
  /** Streamable HTTP. With `ssh`, the URL is what that host sees: its own loopback. */
  z.strictObject({
    kind: z.literal('http'),
    url: Endpoint,
    headers: PlainHeaders.optional(),
    tls: Tls.optional(),
    ssh: SshDestination.optional(),
  }),
  /** The older HTTP+SSE transport (2024-11-05): the URL is that of the stream. */
  z.strictObject({
    kind: z.literal('sse'),
    url: Endpoint,
    headers: PlainHeaders.optional(),
    tls: Tls.optional(),
    ssh: SshDestination.optional(),
  }),
  /** A process of ours, or with `ssh` one on that host; started without a shell. */
  z.strictObject({
    kind: z.literal('stdio'),
    command: part.refine((text) => text.trim() !== '', 'Enter a command.'),
    args: z.array(part).max(MAX_COMMAND_PARTS).readonly(),
    /** Absolute path; default: the user's home. */
    folder: part.optional(),
    /** Plain variables, no secrets: those are credentials with the placement `environment`. */
    environment: z.record(VariableName, part).optional(),
    ssh: SshDestination.optional(),
    /** {@link commandDigest} of what the user saw and confirmed; anything else is not started. */
    confirmed: z.string().optional(),
  }),
]);
export type UpstreamPlace = z.infer<typeof UpstreamPlace>;
export type CommandPlace = Extract<UpstreamPlace, { kind: 'stdio' }>;

/** A MCP server that Culvert fronts. Plain data, stored with a MAC; holds no secret. */
export const Server = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(ID_PATTERN),
  /** Unique among servers; VS Code finds a definition by it. */
  label: z.string().min(1).max(MAX_LABEL_CHARACTERS),
  upstream: UpstreamPlace,
  /** Ids of the credentials that are placed on every request, or in the environment of the command. */
  credentials: z.array(z.string()).readonly(),
  /** The only workspace that offers it: one whose own file names it. Without: every window. */
  workspace: z.strictObject({ id: z.string().max(64), name: z.string().max(200) }).optional(),
  /** Milliseconds since the epoch. */
  createdAt: z.number().int(),
});
export type Server = z.infer<typeof Server>;

/** Plain headers of a place under lower-case names, as they go out. */
export function plainHeadersOf(place: UpstreamPlace): Readonly<Record<string, string>> {
  if (place.kind === 'stdio' || place.headers === undefined) return NO_HEADERS;
  return Object.fromEntries(Object.entries(place.headers).map(([name, value]) => [name.toLowerCase(), value]));
}

const NO_HEADERS: Readonly<Record<string, string>> = {};

const origins = new Map<string, string>();
const MAX_ORIGINS = 1000;

/** Scheme, host and port of a URL: `https://api.example.com` or `http://127.0.0.1:3001`. */
export function originOf(url: string): string {
  let origin = origins.get(url);
  if (origin === undefined) {
    origin = new URL(url).origin;
    if (origins.size >= MAX_ORIGINS) origins.clear();
    origins.set(url, origin);
  }
  return origin;
}

/**
 * What a credential is bound to: the origin (`https://api.example.com`), the origin behind an SSH host (`ssh:devbox http://127.0.0.1:3001`),
 * or one exact command (`command:<digest>`).
 */
export function bindingOf(place: UpstreamPlace): string {
  if (place.kind === 'stdio') return `command:${commandDigest(place)}`;
  return place.ssh === undefined ? originOf(place.url) : `ssh:${place.ssh} ${originOf(place.url)}`;
}

const digests = new WeakMap<CommandPlace, string>();

/** Digest of everything that decides what is started: host, command, arguments, folder, variables. SHA-256, hex. */
export function commandDigest(place: CommandPlace): string {
  let digest = digests.get(place);
  if (digest === undefined) {
    const { ssh = null, command, args, folder = null, environment = {} } = place;
    digest = hash('sha256', JSON.stringify([ssh, command, args, folder, Object.entries(environment).sort(([a], [b]) => (a < b ? -1 : 1))]));
    digests.set(place, digest);
  }
  return digest;
}

/** Whether the user confirmed exactly this command. */
export function isConfirmed(place: CommandPlace): boolean {
  return place.confirmed === commandDigest(place);
}

/** A command as text for people: parts with anything unusual in them are quoted. Never given to a shell. */
export function describeCommand({ command, args }: Pick<CommandPlace, 'command' | 'args'>): string {
  return [command, ...args].map((text) => (/^[\w@%+=:,./^-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)).join(' ');
}

/** What a credential is bound to, for showing: a host, a host seen from another one, or that it is one command. */
export function describeBinding(binding: string): string {
  if (binding.startsWith('command:')) return 'one command';
  const [, ssh, origin = binding] = /^ssh:(\S+) (.+)$/.exec(binding) ?? [];
  const host = URL.canParse(origin) ? new URL(origin).host : origin;
  return ssh === undefined ? host : `${host} on ${ssh} (SSH)`;
}

/** Where calls go, for showing: host and port, or the command, and the host they are reached through. */
export function destinationOf({ upstream }: Pick<Server, 'upstream'>): string {
  const there = upstream.kind === 'stdio' ? describeCommand(upstream) : new URL(upstream.url).host;
  return upstream.ssh === undefined ? there : `${there} on ${upstream.ssh} (SSH)`;
}
