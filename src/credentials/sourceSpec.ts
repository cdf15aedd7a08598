import * as z from 'zod';
import { OAuthSettings } from './oauth/settings.ts';

/** How long a value whose end nobody tells is kept, seconds. */
export const DEFAULT_KEEP_SECONDS = 300;
/** Longest input of a command, characters. */
const MAX_INPUT_CHARACTERS = 4_096;
const MAX_PARTS = 64;

const text = z
  .string()
  .max(4_096)
  .refine((t) => !t.includes('\0'), 'It holds no NUL.');
const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'A variable is named with letters, digits and underscores.');
/** JSON Pointer (RFC 6901), not the whole document. */
const pointer = z
  .string()
  .max(500)
  .regex(/^(\/([^~/]|~[01])*)+$/, 'A field is given as a path, such as /data/token.');
const keepSeconds = z
  .number()
  .int()
  .min(1)
  .max(24 * 3600)
  .optional();

/**
 * How text that a program or file gave is read: all of it, its first line (as `pass` has it), a field of JSON, the JSON of AWS's
 * `credential_process`, the lines of a git credential helper; `auto` looks which of these it is.
 */
export const OutputFormat = z.enum(['auto', 'text', 'first-line', 'json', 'aws', 'git']);
export type OutputFormat = z.infer<typeof OutputFormat>;

/** A path of a HashiCorp Vault, without the version prefix and slashes at its ends. */
const vaultPath = z
  .string()
  .min(1)
  .max(500)
  .regex(/^[^/\s?#%\\][^\s?#%\\]*$/, 'A path has no white space, and no slash at its beginning.')
  .refine(
    (p) => !p.endsWith('/') && p.split('/').every((s) => s !== '' && s !== '.' && s !== '..'),
    'A path has no empty or dotted parts.',
  );

/**
 * Where a credential's value comes from, if it is not sealed in SecretStorage itself: plain data, part of the signed row, no secret. Each
 * kind has a {@link CredentialSource} that serves it, and words in {@link describeSource} (sources/describe.ts).
 */
export const SourceSpec = z.discriminatedUnion('kind', [
  /** A variable of the editor’s own environment. */
  z.strictObject({ kind: z.literal('environment'), variable }),
  /** A file that only the user can read. */
  z.strictObject({
    kind: z.literal('file'),
    /** Absolute, or below the home folder with `~/`. */
    path: text.refine((p) => /^(~[\\/]|[\\/]|[A-Za-z]:[\\/])/.test(p), 'Give the whole path, or one that begins with ~/.'),
    format: OutputFormat,
    field: pointer.optional(),
  }),
  /** What a command prints. Started without a shell, only after the user confirmed exactly this command. */
  z.strictObject({
    kind: z.literal('command'),
    command: text.refine((t) => t.trim() !== '', 'Enter a command.'),
    args: z.array(text).max(MAX_PARTS).readonly(),
    /** Absolute path; default: the user's home. */
    folder: text.optional(),
    /** Plain variables, no secrets. */
    environment: z.record(variable, text).optional(),
    /** What it reads, as git credential helpers do. */
    input: z.string().max(MAX_INPUT_CHARACTERS).optional(),
    format: OutputFormat,
    field: pointer.optional(),
    keepSeconds,
    /** `sourceDigest` (sources/command.ts) of what the user saw and confirmed; anything else is not started. */
    confirmed: z.string().optional(),
  }),
  /** An entry of the system’s keyring, by `secret-tool` (libsecret). */
  z.strictObject({
    kind: z.literal('keyring'),
    attributes: z.record(
      z.string().regex(/^[A-Za-z_][A-Za-z0-9_.:-]{0,63}$/, 'An attribute is named with letters, digits and hyphens.'),
      text,
    ),
  }),
  /** A session of the editor: GitHub, Microsoft, or any provider that an extension registered. */
  z.strictObject({
    kind: z.literal('session'),
    provider: z.string().min(1).max(200),
    scopes: z.array(z.string().min(1).max(500)).max(50).readonly(),
    /** Id of the account; absent: the one that the editor prefers. */
    account: z.string().max(500).optional(),
    /** Its name, for showing. */
    accountLabel: z.string().max(200).optional(),
  }),
  /** HashiCorp Vault or OpenBao over its HTTP API. The token or secret id is sealed in SecretStorage, for the Vault's own origin. */
  z.strictObject({
    kind: z.literal('hashicorp-vault'),
    address: z
      .url({ protocol: /^https?$/ })
      .max(500)
      .refine((a) => {
        if (!URL.canParse(a)) return false;
        const { protocol, hostname, pathname, search, hash, username, password } = new URL(a);
        const loopback = hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
        return pathname === '/' && search + hash + username + password === '' && (protocol === 'https:' || loopback);
      }, 'The address is https:// and a host, such as https://vault.example.com:8200. Plain http:// is for this machine only.'),
    /** Certificates (PEM) of authorities that are trusted for this address too. */
    authorities: z
      .string()
      .max(512 * 1024)
      .optional(),
    namespace: vaultPath.optional(),
    login: z.discriminatedUnion('method', [
      z.strictObject({ method: z.literal('token') }),
      z.strictObject({ method: z.literal('approle'), mount: vaultPath, roleId: z.string().min(1).max(200) }),
    ]),
    secret: z.discriminatedUnion('engine', [
      z.strictObject({ engine: z.literal('kv2'), mount: vaultPath, path: vaultPath, field: z.string().min(1).max(200) }),
      /** Anything that gives a lease: database, aws, rabbitmq … */
      z.strictObject({
        engine: z.literal('dynamic'),
        path: vaultPath,
        field: z.string().min(1).max(200),
        /** When the lease is given back: with the last grant for a server that uses it, with the task, or only with the window. */
        endsWith: z.enum(['grant', 'task', 'window']),
      }),
    ]),
    keepSeconds,
  }),
  /** Tokens of an authorization server. */
  OAuthSettings,
]);
export type SourceSpec = z.infer<typeof SourceSpec>;

/** The part of a union for one kind. */
export type SpecOf<K extends SourceSpec['kind']> = Extract<SourceSpec, { kind: K }>;
