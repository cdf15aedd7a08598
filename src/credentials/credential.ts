import * as z from 'zod';
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

/** Cookie name (RFC 6265, 4.1.1). */
const COOKIE_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
/** What stands for the value in the template of a header. */
export const SECRET_MARK = '{secret}';
/** Places of one placeholder. */
const MAX_ARGUMENT_PLACES = 16;

/** How a secret is put on a request. */
export const Placement = z.discriminatedUnion('kind', [
  /** `Authorization: Bearer <secret>` (RFC 6750). */
  z.strictObject({ kind: z.literal('bearer') }),
  /** A header of any name holding the secret, alone or within a template such as `token {secret}`. */
  z.strictObject({
    kind: z.literal('header'),
    name: z
      .string()
      .regex(HEADER_NAME)
      .refine((n) => !RESERVED_HEADERS.has(n.toLowerCase()), 'That header is used by the protocol itself.'),
    template: z
      .string()
      .max(200)
      .regex(/^[\x20-\x7e]+$/, 'A header holds visible ASCII characters only.')
      .refine(
        (t) => t.split(SECRET_MARK).length === 2 && t.trim() === t,
        `The template holds ${SECRET_MARK} once, such as “token ${SECRET_MARK}”.`,
      )
      .optional(),
  }),
  /** `Authorization: Basic base64(username:secret)` (RFC 7617). Without a user name the source gives one. */
  z.strictObject({
    kind: z.literal('basic'),
    username: z
      .string()
      .min(1)
      .refine((u) => !u.includes(':'), 'A user name for basic authentication has no colon.')
      .optional(),
  }),
  /** A cookie holding the secret (RFC 6265). */
  z.strictObject({
    kind: z.literal('cookie'),
    name: z.string().regex(COOKIE_NAME, 'A cookie is named with letters, digits, hyphens and underscores.'),
  }),
  /** Every request is signed with AWS Signature Version 4; the secret is the secret access key. Without an id the source gives it. */
  z.strictObject({
    kind: z.literal('aws-sigv4'),
    region: z.string().regex(/^[a-z0-9-]{1,40}$/, 'A region looks like eu-central-1.'),
    service: z.string().regex(/^[a-z0-9-]{1,60}$/, 'A service looks like bedrock-agentcore.'),
    accessKeyId: z
      .string()
      .regex(/^[A-Z0-9]{16,128}$/, 'An access key id has capital letters and digits.')
      .optional(),
  }),
  /** Put in the place of `${culvert:NAME}` where it stands in one of these arguments of one of these tools, and nowhere else. */
  z.strictObject({
    kind: z.literal('argument'),
    placeholder: z.string().regex(/^[A-Za-z0-9_.-]{1,60}$/, 'A placeholder is named with letters, digits, hyphens and underscores.'),
    places: z
      .array(
        z.strictObject({
          tool: z.string().min(1).max(200),
          /** JSON Pointer (RFC 6901) into the arguments: `/password`. */
          argument: z
            .string()
            .max(500)
            .regex(/^(\/([^~/]|~[01])*)+$/, 'An argument is given as a path, such as /password.'),
        }),
      )
      .min(1)
      .max(MAX_ARGUMENT_PLACES)
      .readonly(),
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
      return placement.template === undefined ? `header ${placement.name}` : `header ${placement.name}: ${placement.template}`;
    case 'basic':
      return `basic, user ${placement.username ?? 'as the source says'}`;
    case 'cookie':
      return `cookie ${placement.name}`;
    case 'aws-sigv4':
      return `AWS signature for ${placement.service} in ${placement.region}`;
    case 'argument':
      return `\${culvert:${placement.placeholder}} in ${placement.places.map(({ tool, argument }) => `${argument.slice(1)} of ${tool}`).join(', ')}`;
    case 'query':
      return `query parameter ${placement.name}`;
    case 'environment':
      return `variable ${placement.name} of the process`;
    case 'client-key':
      return 'key of the client certificate';
  }
}
