import { PlainHeaders, UpstreamPlace } from '../mcp/server.ts';
import { CLIENTS } from './clients.ts';
import { remoteUrl, type FoundCredential } from './credentials.ts';
import type { Entry, EntryValue } from './entry.ts';
import { pathsOf, type Surroundings } from './locate.ts';
import { findReferences } from './references.ts';

/** What the references of an entry lead to on this machine. */
export interface PlaceContext {
  readonly surroundings: Pick<Surroundings, 'platform' | 'env' | 'home'>;
  /** Folder of the workspace that the file belongs to; for a user's file the one that is open. */
  readonly workspaceFolder?: string;
  /** Values of VS Code's `${input:id}` that are no secrets, as the user gave them. */
  readonly inputs?: Readonly<Record<string, string>>;
  /** Variables of the entry's `envFile` that are no secrets. */
  readonly fileEnvironment?: Readonly<Record<string, string>>;
}

/** Where a server of a configuration is, without any secret. */
export interface FoundPlace {
  readonly place: UpstreamPlace;
  /** What the server got so far and will not get: Culvert has no place for it. */
  readonly leftOut: readonly string[];
}

/** Why an entry can't become a server, as a sentence. */
export interface NoPlace {
  readonly obstacle: string;
}

/** A value that needs something this machine does not have. */
class Unresolved extends Error {}

/**
 * Where an entry's server is, its credentials taken out. References to places and plain variables are replaced by what they stand for
 * here, because the tunnel resolves nothing at run time.
 */
export function placeOf(entry: Entry, credentials: readonly FoundCredential[], context: PlaceContext): FoundPlace | NoPlace {
  try {
    const found = build(entry, credentials, context);
    const parsed = UpstreamPlace.safeParse(found.place);
    if (parsed.success) return { ...found, place: parsed.data };
    const [issue] = parsed.error.issues;
    return { obstacle: `${words(issue?.path.join('.'))}: ${issue?.message ?? 'it is not valid'}` };
  } catch (error) {
    if (error instanceof Unresolved) return { obstacle: error.message };
    throw error;
  }
}

const words = (path: string | undefined): string => (path === undefined || path === '' ? 'The entry' : `“${path}”`);

function build(entry: Entry, credentials: readonly FoundCredential[], context: PlaceContext): { place: UpstreamPlace; leftOut: string[] } {
  const taken = (value: EntryValue): FoundCredential[] =>
    credentials.filter((c) => c.path.length === value.path.length && c.path.every((step, i) => step === value.path[i]));
  const of = (where: EntryValue['where']): EntryValue[] => entry.values.filter((value) => value.where === where);
  const secretHeaders = new Set(
    of('header')
      .filter((value) => taken(value).length > 0)
      .map((value) => value.name),
  );
  const leftOut: string[] = [];
  const plainHeaders = (pairs: readonly (readonly [name: string, value: string])[]): { readonly headers?: PlainHeaders } => {
    const headers: Record<string, string> = {};
    for (const [name, raw] of pairs) {
      const value = resolve(raw, entry, context);
      if (PlainHeaders.safeParse({ ...headers, [name]: value }).success) headers[name] = value;
      else leftOut.push(`header ${name}`);
    }
    return Object.keys(headers).length > 0 ? { headers } : {};
  };
  const [urlValue] = of('url');
  if (entry.transport === 'unknown') {
    throw new Unresolved('It has neither a URL nor a command that Culvert could start. Servers of a client’s own extensions stay there.');
  }
  if (entry.transport !== 'stdio') {
    const url = cleanUrl(entry.url ?? '', urlValue ? taken(urlValue) : []);
    const plain = plainHeaders(Object.entries(entry.headers).filter(([name]) => !secretHeaders.has(name)));
    return { place: { kind: entry.transport, url: resolve(url, entry, context), ...plain }, leftOut };
  }
  const remote = remoteUrl(entry);
  if (remote !== undefined) {
    const value = of('argument').find((candidate) => candidate.value === remote);
    const url = cleanUrl(remote, value ? taken(value) : []);
    const sse = entry.args.some((arg, i) => arg === '--transport' && entry.args[i + 1]?.startsWith('sse') === true);
    const plain = plainHeaders(
      of('argument')
        .filter((v) => v.name === '--header' && taken(v).length === 0)
        .map((v) => {
          const colon = v.value.indexOf(':');
          return [v.value.slice(0, Math.max(colon, 0)), colon < 0 ? '' : v.value.slice(colon + 1).trim()] as const;
        }),
    );
    return {
      place: { kind: sse || /\/sse\/?(?:[?#]|$)/.test(url) ? 'sse' : 'http', url: resolve(url, entry, context), ...plain },
      leftOut,
    };
  }
  const args = cleanArgs(of('argument'), taken).map((arg) => resolve(arg, entry, context));
  const environment: Record<string, string> = {};
  const secretVariables = new Set(credentials.flatMap((c) => (c.placement?.kind === 'environment' ? [c.placement.name] : [])));
  for (const [name, value] of Object.entries({ ...context.fileEnvironment, ...entry.env })) {
    if (secretVariables.has(name)) continue;
    const own = of('environment').find((v) => v.name === name);
    if (own && taken(own).length > 0) continue;
    environment[name] = resolve(value, entry, context);
  }
  for (const { reference, value } of entry.references) {
    // Variables that the client passed on by name; without a value here there is nothing to pass on.
    const passed =
      value.where === 'environment' && value.value === reference.name && !(value.name in entry.env) && taken(value).length === 0;
    const inherited = passed ? context.surroundings.env[reference.name] : undefined;
    if (inherited !== undefined) environment[reference.name] = inherited;
  }
  const folder = folderOf(entry, context);
  if (folder === undefined && entry.cwd !== undefined) leftOut.push(`working folder ${entry.cwd}`);
  const place: UpstreamPlace = {
    kind: 'stdio',
    command: resolve(entry.command ?? '', entry, context),
    args,
    ...(folder === undefined ? {} : { folder }),
    ...(Object.keys(environment).length > 0 ? { environment } : {}),
  };
  return { place, leftOut };
}

/** The address without user name, password, fragment and the parameters that are credentials. */
function cleanUrl(url: string, credentials: readonly FoundCredential[]): string {
  const dropped = new Set(
    credentials.filter((c) => c.placement?.kind === 'query').map((c) => (c.placement?.kind === 'query' ? c.placement.name : '')),
  );
  const [, head = '', query] = /^([^?#]*)(?:\?([^#]*))?/s.exec(url) ?? [];
  const withoutUser = head.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/]*@/i, '$1');
  const rest = (query ?? '').split('&').filter((part) => part !== '' && !dropped.has(parameterName(part)));
  return rest.length === 0 ? withoutUser : `${withoutUser}?${rest.join('&')}`;
}

function parameterName(part: string): string {
  const name = part.split('=')[0] ?? '';
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** Arguments without the secret ones: `--token x` and `--token=x` go, `-e NAME=x` becomes `-e NAME`. */
function cleanArgs(values: readonly EntryValue[], taken: (value: EntryValue) => FoundCredential[]): string[] {
  const args: string[] = [];
  for (const value of values) {
    const [credential] = taken(value);
    if (!credential) args.push(value.value);
    else if (value.name === '-e' || value.name === '--env') args.push(value.value.split('=')[0] ?? '');
    else if (credential.obstacle !== undefined)
      throw new Unresolved(`The argument ${credential.name} holds a secret. ${credential.obstacle}`);
    else if (value.name !== '' && args.at(-1) === value.name) args.pop();
  }
  return args;
}

function folderOf(entry: Entry, context: PlaceContext): string | undefined {
  const path = pathsOf(context.surroundings);
  // Claude Code keeps a project's own servers under the project's path.
  const project = entry.path[0] === 'projects' && typeof entry.path[1] === 'string' ? entry.path[1] : undefined;
  const base = project ?? (entry.scope === 'workspace' ? context.workspaceFolder : undefined);
  if (entry.cwd === undefined) return base;
  const folder = resolve(entry.cwd, entry, context);
  if (path.isAbsolute(folder)) return folder;
  if (folder === '~' || folder.startsWith('~/')) return path.join(context.surroundings.home, folder.slice(1));
  return base === undefined ? undefined : path.join(base, folder);
}

function resolve(text: string, entry: Entry, context: PlaceContext): string {
  const { surroundings, workspaceFolder } = context;
  const path = pathsOf(surroundings);
  let result = '';
  let at = 0;
  for (const { kind, name, fallback, span } of findReferences(text, CLIENTS[entry.client].references)) {
    result += text.slice(at, span.offset);
    at = span.offset + span.length;
    const raw = text.slice(span.offset, at);
    let value: string | undefined;
    if (kind === 'environment') value = surroundings.env[name] ?? fallback;
    else if (kind === 'input') value = context.inputs?.[name];
    else if (kind === 'place') {
      if (name === 'userHome') value = surroundings.home;
      else if (name === 'pathSeparator' || name === '/') value = path.sep;
      else if (name === 'workspaceFolderBasename') value = workspaceFolder === undefined ? undefined : path.basename(workspaceFolder);
      else value = workspaceFolder;
    }
    if (value === undefined)
      throw new Unresolved(
        kind === 'environment'
          ? `It uses the variable ${name}, which is not set here. Set it and restart the editor, or write its value into the file.`
          : kind === 'place'
            ? `It uses ${raw}, and no folder is open. Open the folder and try again.`
            : `It uses ${raw}, which only ${CLIENTS[entry.client].label} can resolve. Write its value into the file first.`,
      );
    result += value;
  }
  return result + text.slice(at);
}
