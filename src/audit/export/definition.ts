import * as z from 'zod';

/** Forms and ways of a streaming export. */
export const EXPORT_KINDS = ['otlp', 'syslog', 'webhook', 'ocsf-webhook'] as const;

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$/;

/**
 * A streaming export as the settings define it. It never holds a secret: headers and the key of signatures are names of export secrets,
 * which lie in the keyring.
 */
export const ExportDefinition = z
  .strictObject({
    name: z.string().regex(NAME, 'must begin with a letter or digit, and have only letters, digits, “.”, “_” and “-”, at most 40'),
    kind: z.enum(EXPORT_KINDS),
    /** `https://…`; for syslog `tls://host:port` or `tcp://host:port`. */
    url: z.string().max(2_000),
    /** Path of a PEM file: certificates that vouch for the receiver, instead of those of the system. */
    ca: z.string().max(4_000).exactOptional(),
    /** Name of the header → name of the export secret that is its value. */
    headers: z
      .record(z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, 'is no name of a header'), z.string().regex(NAME))
      .exactOptional(),
    /** Name of the export secret under which a webhook is signed. */
    secret: z.string().regex(NAME).exactOptional(),
    /** Only for OTLP; default: both. */
    signals: z
      .array(z.enum(['logs', 'traces']))
      .min(1)
      .exactOptional(),
  })
  .readonly();
export type ExportDefinition = z.infer<typeof ExportDefinition>;

/** What the settings say about one export: usable, or why not. */
export type ReadDefinition =
  | { readonly name: string; readonly definition: ExportDefinition; readonly problem?: undefined }
  | { readonly name: string; readonly definition?: undefined; readonly problem: string };

/** Definitions that are looked at; more is no honest use. */
const MAX_EXPORTS = 16;

/** Reads the setting. What can't be used comes with the reason, so that the user sees it. */
export function readDefinitions(setting: unknown): ReadDefinition[] {
  if (!Array.isArray(setting)) return [];
  const seen = new Set<string>();
  return setting.slice(0, MAX_EXPORTS).map((item: unknown, at): ReadDefinition => {
    const said: unknown = typeof item === 'object' && item !== null && 'name' in item ? item.name : undefined;
    const name = typeof said === 'string' && NAME.test(said) ? said : `export ${at + 1}`;
    const parsed = ExportDefinition.safeParse(item);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      return { name, problem: `${issue?.path.join('.') ?? ''} ${issue?.message ?? 'can’t be read'}`.trim() };
    }
    if (seen.has(name)) return { name: `${name} (${at + 1})`, problem: `another export is called ${name}, too` };
    seen.add(name);
    const problem = problemOf(parsed.data);
    return problem === undefined ? { name, definition: parsed.data } : { name, problem };
  });
}

function problemOf(definition: ExportDefinition): string | undefined {
  const { kind, url, headers, secret, signals } = definition;
  if (!URL.canParse(url)) return 'url is no address';
  const { protocol, hostname, port, username, password, search } = new URL(url);
  if (username !== '' || password !== '') return 'url holds a user or a password; put it into a header with an export secret';
  if (search !== '' && kind !== 'otlp' && /(key|token|secret|sig|pass)/i.test(search))
    return 'url seems to hold a secret; put it into a header with an export secret';
  if (kind === 'syslog') {
    if (protocol !== 'tls:' && protocol !== 'tcp:') return 'url must be tls://host:port (or tcp://host:port, not encrypted)';
    if (hostname === '' || port === '') return 'url must name a host and a port';
    if (headers || secret !== undefined) return 'syslog has neither headers nor signatures';
  } else if (protocol !== 'https:' && protocol !== 'http:') return 'url must be https://…';
  else if (!isEncrypted(definition) && !isLoopback(hostname) && Object.keys(headers ?? {}).length > 0)
    return 'url must be https://…, or its secrets would travel in the clear';
  if (kind === 'webhook' && secret === undefined) return 'secret must name the export secret that signs';
  if (kind === 'otlp' && secret !== undefined) return 'OTLP has no signatures; use headers';
  if (kind !== 'otlp' && signals) return 'signals are for OTLP';
  return undefined;
}

/** Whether what is sent can be read on its way. */
export function isEncrypted({ url }: Pick<ExportDefinition, 'url'>): boolean {
  return url.startsWith('https:') || url.startsWith('tls:');
}

/** Whether a name is that of this machine. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** Names of the export secrets that an export needs. */
export function secretsOf({ headers, secret }: ExportDefinition): string[] {
  return [...new Set([...Object.values(headers ?? {}), ...(secret === undefined ? [] : [secret])])];
}

/** Where an export goes, for showing: without path and query. */
export function destinationOf({ url }: Pick<ExportDefinition, 'url'>): string {
  if (!URL.canParse(url)) return 'an address that can’t be read';
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
