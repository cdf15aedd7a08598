import { modify } from 'jsonc-parser';
import * as z from 'zod';
import {
  MAX_COMMAND_PARTS,
  MAX_COMMAND_PART_CHARACTERS,
  MAX_LABEL_CHARACTERS,
  PlainHeaders,
  UpstreamPlace,
  VariableName,
  bindingOf,
} from '../mcp/server.ts';
import type { FoundPlacement } from './credentials.ts';
import { isProblem, lineEndOf, parseDocument, type FileProblem } from './document.ts';
import { indentUnit } from './jsonEdit.ts';
import { REFERENCE_NAME, culvertReference } from './references.ts';
import { looksSecret, type LooksSecret } from './secretShape.ts';
import type { TextEdit } from './textEdit.ts';
import { valueOf } from './tree.ts';

/** Where the file is in a workspace folder. */
export const WORKSPACE_FILE = '.vscode/culvert.json';
/** Servers of one file; a repository with more wants to wear somebody down with questions. */
export const MAX_WORKSPACE_SERVERS = 50;
/** Credentials of one server. */
export const MAX_WORKSPACE_CREDENTIALS = 8;
/** Longest hint, in characters. It is shown to the user as the repository's words. */
export const MAX_HINT_CHARACTERS = 200;

const part = z.string().max(MAX_COMMAND_PART_CHARACTERS);

/** How a secret is put on a request; the part of `Placement` in src/credentials that a repository may ask for. */
export const WorkspacePlacement = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('bearer') }),
  z.strictObject({ kind: z.literal('header'), name: z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/) }),
  z.strictObject({ kind: z.literal('basic'), username: z.string().min(1).max(200) }),
  z.strictObject({ kind: z.literal('query'), name: z.string().min(1).max(64) }),
  z.strictObject({ kind: z.literal('environment'), name: VariableName }),
]);

/** `${culvert:name}`: a credential that each developer seals under that name. Never a value. */
export const WorkspaceReference = z.string().refine((text) => {
  const name = /^\$\{culvert:(.*)\}$/.exec(text)?.[1];
  return name !== undefined && REFERENCE_NAME.test(name);
}, 'A credential is named as ${culvert:name}, with letters, digits, dots, underscores and hyphens.');

const credentials = z
  .array(
    z.strictObject({
      reference: WorkspaceReference,
      placement: WorkspacePlacement,
      /** Where to get one, in the team's words. */
      hint: z.string().max(MAX_HINT_CHARACTERS).optional(),
    }),
  )
  .max(MAX_WORKSPACE_CREDENTIALS)
  .readonly()
  .optional();

/** A server that a workspace names. */
export const WorkspaceServer = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('http'), url: z.string().max(2048), headers: PlainHeaders.optional(), credentials }),
  z.strictObject({ type: z.literal('sse'), url: z.string().max(2048), headers: PlainHeaders.optional(), credentials }),
  z.strictObject({
    type: z.literal('stdio'),
    command: part,
    args: z.array(part).max(MAX_COMMAND_PARTS).readonly().optional(),
    /** Relative to the workspace folder. */
    folder: part
      .refine((text) => !/^(?:[/\\~]|[A-Za-z]:)|(?:^|[/\\])\.\.(?:[/\\]|$)/.test(text), 'The folder must be inside the workspace.')
      .optional(),
    environment: z.record(VariableName, part).optional(),
    credentials,
  }),
]);
export type WorkspaceServer = z.infer<typeof WorkspaceServer>;

/** The part of `.vscode/culvert.json` that names servers. Other top-level keys belong to others (policy) and are let through. */
export const WorkspaceFile = z.looseObject({
  version: z.literal(1).optional(),
  servers: z
    .record(z.string().min(1).max(MAX_LABEL_CHARACTERS), WorkspaceServer)
    .refine((servers) => Object.keys(servers).length <= MAX_WORKSPACE_SERVERS, `At most ${MAX_WORKSPACE_SERVERS} servers.`)
    .optional(),
});
export type WorkspaceFile = z.infer<typeof WorkspaceFile>;

/** One server of the file, ready to be compared. */
export interface WantedServer {
  readonly label: string;
  readonly place: UpstreamPlace;
  /** {@link bindingOf} the place. */
  readonly binding: string;
  readonly credentials: readonly WantedCredential[];
}

/** A credential that a repository asks for. */
export interface WantedCredential {
  /** Name inside `${culvert:…}`. */
  readonly name: string;
  readonly placement: FoundPlacement;
  readonly hint?: string;
}

/** Reads the file. A value that looks like a secret refuses the whole file: it is shared. `folder` is the workspace folder, absolute. */
export function readWorkspaceFile(
  text: string,
  folder: string,
  join: (...parts: string[]) => string,
  rules: LooksSecret = looksSecret,
): readonly WantedServer[] | FileProblem {
  const document = parseDocument(text, 'json', WORKSPACE_FILE);
  if (isProblem(document)) return document;
  const [twice] = document.duplicates;
  if (twice) return { code: 'duplicate-key', message: `${WORKSPACE_FILE} has the key “${String(twice.path.at(-1))}” twice. Remove one.` };
  const parsed = WorkspaceFile.safeParse(structuredClone(valueOf(document.root)));
  if (!parsed.success) return invalid(parsed.error);
  const wanted: WantedServer[] = [];
  for (const [label, server] of Object.entries(parsed.data.servers ?? {})) {
    const secret = plaintextIn(server, rules);
    if (secret !== undefined)
      return {
        code: 'syntax',
        message: `${WORKSPACE_FILE}: “${secret}” of server “${label}” looks like a secret. Name it as \${culvert:name} under credentials, and replace it with its provider.`,
      };
    const place = UpstreamPlace.safeParse(placeOf(server, folder, join));
    if (!place.success) return invalid(place.error);
    const named = (server.credentials ?? []).map(({ reference, placement, hint }): WantedCredential => ({
      name: reference.slice('${culvert:'.length, -1),
      placement,
      ...(hint === undefined ? {} : { hint }),
    }));
    wanted.push({ label, place: place.data, binding: bindingOf(place.data), credentials: named });
  }
  return wanted;
}

function invalid(error: z.ZodError): FileProblem {
  const [issue] = error.issues;
  const path = issue?.path.join(' › ') ?? '';
  return { code: 'syntax', message: `${WORKSPACE_FILE}: ${path === '' ? 'the file' : path}: ${issue?.message ?? 'not valid'}` };
}

function placeOf(server: WorkspaceServer, folder: string, join: (...parts: string[]) => string): UpstreamPlace {
  if (server.type !== 'stdio') return { kind: server.type, url: server.url, ...(server.headers ? { headers: server.headers } : {}) };
  return {
    kind: 'stdio',
    command: server.command,
    args: server.args ?? [],
    folder: server.folder === undefined ? folder : join(folder, server.folder),
    ...(server.environment ? { environment: server.environment } : {}),
  };
}

/** Name of a field that holds a secret in plaintext. */
function plaintextIn(server: WorkspaceServer, rules: LooksSecret): string | undefined {
  if (server.type !== 'stdio') {
    const header = Object.entries(server.headers ?? {}).find(([name, value]) => rules(name, value) !== undefined);
    if (header) return header[0];
    if (!URL.canParse(server.url)) return undefined;
    const url = new URL(server.url);
    if (url.username !== '' || url.password !== '') return 'url';
    return [...url.searchParams].some(([name, value]) => rules(name, value) !== undefined) || rules(undefined, url.pathname)
      ? 'url'
      : undefined;
  }
  const variable = Object.entries(server.environment ?? {}).find(([name, value]) => rules(name, value) !== undefined);
  if (variable) return variable[0];
  const args = server.args ?? [];
  return args.some((arg, i) => {
    const [, option, value] = /^--?([\w.-]+)=([\s\S]*)$/.exec(arg) ?? [];
    return rules(option ?? /^--?([A-Za-z][\w.-]*)$/.exec(args[i - 1] ?? '')?.[1], value ?? arg) !== undefined;
  })
    ? 'args'
    : undefined;
}

/** What this machine already knows. */
export interface KnownBindings {
  /** Servers by label, with what they are bound to. */
  readonly servers: readonly { readonly label: string; readonly binding: string }[];
  /** Sealed credentials, the bindings they may go to, and how they are placed. */
  readonly credentials: readonly { readonly name: string; readonly bindings: readonly string[]; readonly placement: FoundPlacement }[];
}

/** Something that the user must decide before a server of a workspace works. */
export type WorkspaceQuestion =
  /** The repository names a server that is not set up here. */
  | { readonly kind: 'new-server'; readonly label: string; readonly binding: string }
  /** A server of that name is set up here, and leads somewhere else. */
  | { readonly kind: 'moved-server'; readonly label: string; readonly from: string; readonly to: string }
  /** No credential of that name is sealed here: the user seals an own value. */
  | { readonly kind: 'fill'; readonly label: string; readonly name: string; readonly binding: string; readonly hint?: string }
  /** A sealed credential would go where it never went. The safe answer is another name with another value. */
  | {
      readonly kind: 'new-destination';
      readonly label: string;
      readonly name: string;
      readonly bindings: readonly string[];
      readonly to: string;
    }
  /** A sealed credential would be sent in another way: as a query parameter it ends up in logs. */
  | {
      readonly kind: 'new-placement';
      readonly label: string;
      readonly name: string;
      readonly from: FoundPlacement;
      readonly to: FoundPlacement;
    };

/** What may be used at once, and what must be asked, never assumed. */
export interface WorkspaceComparison {
  readonly ready: readonly WantedServer[];
  readonly questions: readonly WorkspaceQuestion[];
}

/**
 * Compares what a repository wants with what the user has allowed on this machine. Nothing that a repository says widens where a
 * credential may go: every pair of credential and destination that is not already bound is a question.
 */
export function compareBindings(wanted: readonly WantedServer[], known: KnownBindings): WorkspaceComparison {
  const ready: WantedServer[] = [];
  const questions: WorkspaceQuestion[] = [];
  for (const server of wanted) {
    const { label, binding } = server;
    const own: WorkspaceQuestion[] = [];
    const same = known.servers.find((s) => s.label.trim().toLowerCase() === label.trim().toLowerCase());
    if (!same) own.push({ kind: 'new-server', label, binding });
    else if (same.binding !== binding) own.push({ kind: 'moved-server', label, from: same.binding, to: binding });
    for (const { name, placement, hint } of server.credentials) {
      const sealed = known.credentials.find((credential) => credential.name === name);
      if (!sealed) own.push({ kind: 'fill', label, name, binding, ...(hint === undefined ? {} : { hint }) });
      else if (!sealed.bindings.includes(binding))
        own.push({ kind: 'new-destination', label, name, bindings: sealed.bindings, to: binding });
      else if (JSON.stringify(Object.entries(sealed.placement).sort()) !== JSON.stringify(Object.entries(placement).sort()))
        own.push({ kind: 'new-placement', label, name, from: sealed.placement, to: placement });
    }
    if (own.length === 0) ready.push(server);
    questions.push(...own);
  }
  return { ready, questions };
}

/** A server as the file names it. Secrets become references; variables and arguments are those of the place. */
export function workspaceServer(
  place: UpstreamPlace,
  named: readonly WantedCredential[],
  folder: string,
  relative: (from: string, to: string) => string,
): WorkspaceServer {
  const list = named.map(({ name, placement, hint }) => ({
    reference: culvertReference(name),
    placement,
    ...(hint === undefined ? {} : { hint }),
  }));
  const withCredentials = list.length === 0 ? {} : { credentials: list };
  if (place.kind !== 'stdio')
    return { type: place.kind, url: place.url, ...(place.headers ? { headers: place.headers } : {}), ...withCredentials };
  const inside = place.folder === undefined ? '' : relative(folder, place.folder);
  return {
    type: 'stdio',
    command: place.command,
    ...(place.args.length > 0 ? { args: place.args } : {}),
    ...(inside === '' || inside.startsWith('..') ? {} : { folder: inside }),
    ...(place.environment ? { environment: place.environment } : {}),
    ...withCredentials,
  };
}

/** Edits that put a server into the file's text (empty for a new file). Everything else in it stays. */
export function putWorkspaceServer(text: string, label: string, server: WorkspaceServer): TextEdit[] {
  const unit = indentUnit(text);
  const formattingOptions = {
    insertSpaces: unit !== '\t',
    tabSize: unit === '\t' ? 4 : unit.length,
    eol: text === '' ? '\n' : lineEndOf(text),
  };
  if (text.trim() === '')
    return [{ offset: 0, length: text.length, text: `${JSON.stringify({ version: 1, servers: { [label]: server } }, undefined, 2)}\n` }];
  return modify(text, ['servers', label], server, { formattingOptions }).map(({ offset, length, content }) => ({
    offset,
    length,
    text: content,
  }));
}
