import { z } from 'zod';
import { ID_PATTERN } from '../common/identifiers.ts';
import { SourceSpec } from './sourceSpec.ts';

/** Longest name of a credential in characters. */
export const MAX_CREDENTIAL_NAME_CHARACTERS = 60;

/** A token of HTTP (RFC 9110, 5.6.2), as header names are. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;

/** Headers that the wire itself needs or that would change where a request goes. No credential is placed there. */
const RESERVED_HEADERS = new Set([
  'host',
  'connection',
  'content-length',
  'content-type',
  'transfer-encoding',
  'accept',
  'mcp-session-id',
  'mcp-protocol-version',
  'te',
  'upgrade',
  'trailer',
]);

/** Variables that decide what a process loads or runs: no credential is placed there. */
const RESERVED_VARIABLES =
  /^(PATH|HOME|SHELL|IFS|LD_.*|DYLD_.*|NODE_OPTIONS|NODE_PATH|NODE_EXTRA_CA_CERTS|PYTHONPATH|PYTHONSTARTUP|BASH_ENV|ENV|ELECTRON_.*|SSH_.*)$/i;

/** How a secret is put on a request. */
export const Placement = z.discriminatedUnion('kind', [
  /** `Authorization: Bearer <secret>` (RFC 6750). */
  z.strictObject({ kind: z.literal('bearer') }),
  /** A header of any name holding just the secret. */
  z.strictObject({
    kind: z.literal('header'),
    name: z
      .string()
      .regex(HEADER_NAME)
      .refine((n) => !RESERVED_HEADERS.has(n.toLowerCase()), 'That header is used by the protocol itself.'),
  }),
  /** `Authorization: Basic base64(username:secret)` (RFC 7617). */
  z.strictObject({
    kind: z.literal('basic'),
    username: z
      .string()
      .min(1)
      .refine((u) => !u.includes(':'), 'A user name for basic authentication has no colon.'),
  }),
  /** A query parameter holding the secret. */
  z.strictObject({ kind: z.literal('query'), name: z.string().min(1).max(64) }),
  /** An environment variable of the server's process, for servers that are started as a command. The process holds the value from then on. */
  z.strictObject({
    kind: z.literal('environment'),
    name: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'A variable is named with letters, digits and underscores.')
      .refine((name) => !RESERVED_VARIABLES.test(name), 'That variable decides what the process runs; no secret belongs there.'),
  }),
  /** The private key (PEM) of the certificate that we show in TLS. It goes into the handshake and on no request. */
  z.strictObject({ kind: z.literal('client-key') }),
]);
export type Placement = z.infer<typeof Placement>;

/** A named secret: everything about it but the value. Stored with a MAC. */
export const Credential = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(ID_PATTERN),
  name: z.string().min(1).max(MAX_CREDENTIAL_NAME_CHARACTERS),
  placement: Placement,
  /** Where the value comes from; absent: it is sealed in the vault. */
  source: SourceSpec.optional(),
  /** Origins it may go to. The vault holds the same list beside the value and decides by its own. */
  origins: z.array(z.string()).readonly(),
  /** Counts replacements and changes of source or placement, from 1. */
  revision: z.number().int().positive(),
  createdAt: z.number().int(),
  replacedAt: z.number().int().optional(),
});
export type Credential = z.infer<typeof Credential>;

/** The placement in words. */
export function describePlacement(placement: Placement): string {
  switch (placement.kind) {
    case 'bearer':
      return 'bearer token';
    case 'header':
      return `header ${placement.name}`;
    case 'basic':
      return `basic, user ${placement.username}`;
    case 'query':
      return `query parameter ${placement.name}`;
    case 'environment':
      return `variable ${placement.name} of the process`;
    case 'client-key':
      return 'key of the client certificate';
  }
}
