import { visible } from '../common/text.ts';
import { CLIENTS, type ClientId } from './clients.ts';
import { editObstacle, type ConfigurationDocument, type FileProblem } from './document.ts';
import type { Location, Scope } from './locate.ts';
import { findReferences, type Reference } from './references.ts';
import type { Span } from './textEdit.ts';
import { countingMembers, memberOf, textOf, type MappingNode, type Member, type Node, type Path } from './tree.ts';

/** Longest name of an entry that is shown whole, in characters. */
const MAX_SHOWN_NAME_CHARACTERS = 80;

/** Most servers that are read from one file, and values of one of them. What a client writes stays far below. */
export const MAX_ENTRIES = 500;
export const MAX_ENTRY_VALUES = 500;

/** A text of an entry in which a credential can stand. */
export interface EntryValue {
  readonly where: 'environment' | 'header' | 'url' | 'argument' | 'token' | 'command' | 'other';
  /** Variable, header, key; the option before an argument (`--token`). Empty for an argument that no option precedes. */
  readonly name: string;
  readonly value: string;
  /** Where the value stands in the file. */
  readonly path: Path;
  /** Its literal, quotes included. */
  readonly span: Span;
}

/** A reference and the value that it stands in. */
export interface EntryReference {
  readonly reference: Reference;
  readonly value: EntryValue;
}

/**
 * A server as a client's file describes it. Holds the file's plaintext as it is: never log or show one, {@link describeEntry} is for that.
 */
export interface Entry {
  readonly client: ClientId;
  readonly scope: Scope;
  /** Absolute path of the file. */
  readonly file: string;
  readonly editable: boolean;
  readonly name: string;
  /** Where its value is inside the file; the last step is its key, or its index in a list. */
  readonly path: Path;
  /** From the key to the end of the value; in TOML from the first to the last line that belongs to it. */
  readonly span: Span;
  /** Where its name stands. */
  readonly nameSpan: Span;
  readonly transport: 'http' | 'sse' | 'stdio' | 'unknown';
  readonly url?: string;
  readonly command?: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly envFile?: string;
  readonly cwd?: string;
  readonly values: readonly EntryValue[];
  readonly references: readonly EntryReference[];
  readonly disabled: boolean;
  /** Keys that say something Culvert does not know. */
  readonly extras: readonly string[];
  /** Why it can't be edited, though it was read. */
  readonly obstacle?: FileProblem;
}

/** An `inputs` entry of VS Code's mcp.json: what `${input:id}` asks for. Source: configurationResolverSchema.ts. */
export interface Input {
  readonly id: string;
  readonly password: boolean;
  readonly description?: string;
}

const KNOWN_KEYS = new Set([
  'type',
  'command',
  'args',
  'env',
  'envFile',
  'env_file',
  'cwd',
  'url',
  'serverUrl',
  'httpUrl',
  'headers',
  'http_headers',
  'env_http_headers',
  'bearer_token',
  'bearer_token_env_var',
  'env_vars',
  'requestOptions',
  'apiKey',
  'transport',
  'source',
]);

const TRANSPORTS: Readonly<Record<string, 'http' | 'sse' | 'stdio'>> = {
  stdio: 'stdio',
  local: 'stdio',
  http: 'http',
  'streamable-http': 'http',
  streamableHttp: 'http',
  streamable_http: 'http',
  sse: 'sse',
};

/** The servers of a file, in the file's order. What is no object is left out. */
export function readEntries(document: ConfigurationDocument, location: Location, name = 'The file'): Entry[] {
  const entries: Entry[] = [];
  const add = (path: Path, label: string, place: Pick<Member, 'span' | 'keySpan'>, node: MappingNode): void => {
    if (entries.length < MAX_ENTRIES) entries.push(readEntry(document, location, name, path, label, place, node));
  };
  for (const pattern of location.servers) {
    for (const { path, node: container } of expand(document.root, pattern)) {
      if (container.kind === 'mapping')
        for (const member of countingMembers(container))
          if (member.value.kind === 'mapping') add([...path, member.key], member.key, member, member.value);
      if (container.kind === 'sequence')
        for (const [i, item] of container.items.entries()) {
          if (item.kind !== 'mapping') continue;
          const named = memberOf(item, 'name');
          const label = textOf(named?.value) ?? `server ${i + 1}`;
          add([...path, i], label, { span: item.span, keySpan: named?.value.span ?? item.span }, item);
        }
    }
  }
  return entries;
}

/** Containers that a pattern with `*` leads to. */
function expand(root: Node, pattern: readonly string[]): { readonly path: Path; readonly node: Node }[] {
  let found: { readonly path: Path; readonly node: Node }[] = [{ path: [], node: root }];
  for (const step of pattern) {
    found = found.flatMap(({ path, node }) => {
      if (node.kind !== 'mapping') return [];
      const one = memberOf(node, step);
      const members = step === '*' ? countingMembers(node) : one ? [one] : [];
      return members.map(({ key, value }) => ({ path: [...path, key], node: value }));
    });
  }
  return found;
}

function readEntry(
  document: ConfigurationDocument,
  location: Location,
  fileName: string,
  path: Path,
  name: string,
  { span, keySpan }: Pick<Member, 'span' | 'keySpan'>,
  node: MappingNode,
): Entry {
  const gathered = new Gathered(node, path);
  const transportMapping = memberOf(node, 'transport')?.value;
  if (transportMapping?.kind === 'mapping') gathered.body(transportMapping, [...path, 'transport']);
  const commandMapping = memberOf(node, 'command')?.value;
  if (commandMapping?.kind === 'mapping') gathered.body(commandMapping, [...path, 'command'], 'path');

  const { url, command, type } = gathered;
  const client = CLIENTS[location.client];
  const values = gathered.values.slice(0, MAX_ENTRY_VALUES + 1);
  const references = values.flatMap((value) =>
    value.where === 'other' && value.name === 'bearer_token_env_var'
      ? []
      : findReferences(value.value, client.references).map((reference) => ({ reference, value })),
  );
  const tooMany: FileProblem | undefined =
    values.length > MAX_ENTRY_VALUES
      ? {
          code: 'too-large',
          message: `A server of ${fileName} has more than ${MAX_ENTRY_VALUES} values, so Culvert leaves it alone. Move it by hand.`,
        }
      : undefined;
  const obstacle = tooMany ?? editObstacle(document, path, fileName);
  return {
    client: location.client,
    scope: location.scope,
    file: location.path,
    editable: location.editable,
    name,
    path,
    span,
    nameSpan: keySpan,
    transport: transportOf(type, url, command, gathered.streamable),
    ...(url === undefined ? {} : { url }),
    ...(command === undefined ? {} : { command }),
    args: gathered.args,
    env: gathered.env,
    headers: gathered.headers,
    ...(gathered.envFile === undefined ? {} : { envFile: gathered.envFile }),
    ...(gathered.cwd === undefined ? {} : { cwd: gathered.cwd }),
    values,
    references: [...references, ...gathered.variableReferences],
    disabled: isTrue(memberOf(node, 'disabled')?.value) || isFalse(memberOf(node, 'enabled')?.value),
    extras: [...new Set(node.members.map((m) => m.key))].filter((key) => !KNOWN_KEYS.has(key) && !client.kept.has(key)),
    ...(obstacle ? { obstacle } : {}),
  };
}

const isTrue = (node: Node | undefined): boolean => node?.kind === 'scalar' && node.value === true;
const isFalse = (node: Node | undefined): boolean => node?.kind === 'scalar' && node.value === false;

function transportOf(
  type: string | undefined,
  url: string | undefined,
  command: string | undefined,
  streamable: boolean,
): Entry['transport'] {
  const named = type === undefined ? undefined : TRANSPORTS[type];
  if (command !== undefined && url === undefined) return 'stdio';
  if (url === undefined) return 'unknown';
  if (streamable) return 'http';
  if (named === 'sse' || named === 'http') return named;
  // Clients try Streamable HTTP first and fall back; by convention the older transport is served at /sse.
  return /\/sse\/?(?:[?#]|$)/.test(url) ? 'sse' : 'http';
}

/** What the members of an entry say, in one pass. */
class Gathered {
  url: string | undefined;
  command: string | undefined;
  type: string | undefined;
  envFile: string | undefined;
  cwd: string | undefined;
  /** `httpUrl` of Gemini CLI is Streamable HTTP by its name. */
  streamable = false;
  readonly args: string[] = [];
  readonly env: Record<string, string> = Object.create(null) as Record<string, string>;
  readonly headers: Record<string, string> = Object.create(null) as Record<string, string>;
  readonly values: EntryValue[] = [];
  /** Variables that are named without any `${…}`: Codex' `bearer_token_env_var` and its like. */
  readonly variableReferences: EntryReference[] = [];

  constructor(node: MappingNode, path: Path) {
    this.body(node, path);
  }

  body(node: MappingNode, path: Path, commandKey = 'command'): void {
    for (const member of countingMembers(node)) {
      this.#member(member.key === commandKey ? 'command' : member.key, member.value, [...path, member.key]);
    }
  }

  #member(key: string, node: Node, path: Path): void {
    const text = textOf(node);
    switch (key) {
      case 'type':
      case 'source':
        this.type ??= text;
        return;
      case 'command':
        this.command ??= text;
        this.#value('command', key, node, path);
        return;
      case 'url':
      case 'serverUrl':
      case 'httpUrl':
        this.url ??= text;
        this.streamable ||= key === 'httpUrl' && text !== undefined;
        this.#value('url', key, node, path);
        return;
      case 'envFile':
      case 'env_file':
        this.envFile ??= text;
        return;
      case 'cwd':
        this.cwd ??= text;
        return;
      case 'args':
        this.#args(node, path);
        return;
      case 'env':
        this.#map(node, path, 'environment', this.env);
        return;
      case 'headers':
      case 'http_headers':
        this.#map(node, path, 'header', this.headers);
        return;
      case 'requestOptions':
        if (node.kind === 'mapping') {
          const headers = memberOf(node, 'headers')?.value;
          if (headers) this.#map(headers, [...path, 'headers'], 'header', this.headers);
        }
        return;
      case 'bearer_token':
      case 'apiKey':
        this.#value('token', key, node, path);
        return;
      case 'bearer_token_env_var':
        this.#variable('token', 'Authorization', node, path);
        return;
      case 'env_http_headers':
        if (node.kind === 'mapping')
          for (const member of node.members) this.#variable('header', member.key, member.value, [...path, member.key]);
        return;
      case 'env_vars':
        if (node.kind === 'sequence')
          for (const [i, item] of node.items.entries()) this.#variable('environment', textOf(item) ?? '', item, [...path, i]);
        return;
      case 'transport':
        this.type ??= text;
        return;
      default:
        this.#others(key, node, path);
    }
  }

  #value(where: EntryValue['where'], name: string, node: Node, path: Path): void {
    if (node.kind !== 'scalar' || node.value === null || typeof node.value === 'boolean') return;
    this.values.push({ where, name, value: String(node.value), path, span: node.span });
  }

  #variable(where: EntryValue['where'], name: string, node: Node, path: Path): void {
    const variable = textOf(node);
    if (variable === undefined) return;
    const value: EntryValue = { where, name: name === '' ? variable : name, value: variable, path, span: node.span };
    this.variableReferences.push({
      reference: { kind: 'environment', name: variable, span: { offset: 0, length: variable.length } },
      value,
    });
  }

  #args(node: Node, path: Path): void {
    if (node.kind !== 'sequence') return;
    let option = '';
    for (const [i, item] of node.items.entries()) {
      if (item.kind !== 'scalar' || item.value === null) continue;
      const text = String(item.value);
      this.args.push(text);
      this.values.push({ where: 'argument', name: option, value: text, path: [...path, i], span: item.span });
      option = /^--?[A-Za-z]/.test(text) && !text.includes('=') ? text : '';
    }
  }

  #map(node: Node, path: Path, where: 'environment' | 'header', target: Record<string, string>): void {
    if (node.kind !== 'mapping') return;
    for (const member of countingMembers(node)) {
      if (member.value.kind !== 'scalar' || member.value.value === null) continue;
      target[member.key] = String(member.value.value);
      this.#value(where, member.key, member.value, [...path, member.key]);
      if (typeof member.value.value === 'boolean')
        this.values.push({
          where,
          name: member.key,
          value: String(member.value.value),
          path: [...path, member.key],
          span: member.value.span,
        });
    }
  }

  /** Texts below keys we do not know: a secret may stand there too (Zed: `settings` of an extension's server). */
  #others(key: string, node: Node, path: Path): void {
    if (node.kind === 'scalar') this.#value('other', key, node, path);
    if (node.kind === 'sequence') node.items.forEach((item, i) => this.#others(key, item, [...path, i]));
    if (node.kind === 'mapping') for (const member of node.members) this.#others(member.key, member.value, [...path, member.key]);
  }
}

/** What `${input:…}` of a VS Code file asks for. */
export function readInputs(document: ConfigurationDocument, location: Location): Input[] {
  if (location.client !== 'vscode') return [];
  return location.servers
    .flatMap((pattern) => expand(document.root, [...pattern.slice(0, -1), 'inputs']))
    .flatMap(({ node }) => (node.kind === 'sequence' ? node.items : []))
    .flatMap((item): Input[] => {
      const id = textOf(memberOf(item, 'id')?.value);
      const description = textOf(memberOf(item, 'description')?.value);
      if (id === undefined) return [];
      return [{ id, password: isTrue(memberOf(item, 'password')?.value), ...(description === undefined ? {} : { description }) }];
    });
}

/** The id of the Culvert server that an entry starts the bridge for, if it does: `<process> …/bridge.cjs --server <id>`. */
export function bridgedServer(entry: Pick<Entry, 'args'>): string | undefined {
  const script = entry.args.findIndex((arg) => /(?:^|[/\\])bridge\.c?js$/.test(arg));
  const option = script < 0 ? -1 : entry.args.indexOf('--server', script);
  return option < 0 ? undefined : entry.args[option + 1];
}

/** An entry for a list or a message: client, name and where it leads, without any value that could be a secret. */
export function describeEntry(entry: Entry): string {
  const name = visible(entry.name, MAX_SHOWN_NAME_CHARACTERS);
  const { label } = CLIENTS[entry.client];
  if (entry.url !== undefined) {
    const host = URL.canParse(entry.url) ? new URL(entry.url).host : 'an address that is not complete';
    return `${name} (${label}): ${visible(host, MAX_SHOWN_NAME_CHARACTERS)}`;
  }
  const program = (entry.command ?? 'unknown').split(/[/\\]/).at(-1) ?? '';
  return `${name} (${label}): command ${visible(program, MAX_SHOWN_NAME_CHARACTERS)}`;
}
