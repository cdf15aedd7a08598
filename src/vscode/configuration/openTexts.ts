import * as vscode from 'vscode';
import { basename, dirname, sep } from 'node:path';
import { compileGlob, type Matcher } from '../../authorization/glob.ts';
import { isDotenvName } from '../../configuration/dotenv.ts';
import { placesToLook, type Location } from '../../configuration/locate.ts';
import { analyse, type Analysis, type TextKind } from '../../configuration/plaintext.ts';
import { WORKSPACE_FILE } from '../../configuration/workspaceFile.ts';
import { SETTINGS } from '../names.ts';
import type { Here } from './here.ts';
import { loadSecretRules, type SecretRules } from './secretRules.ts';

/** Entries of a list in settings that count. */
const MAX_LISTED = 1_000;

function listed(key: string): readonly string[] {
  const value = vscode.workspace.getConfiguration().get<unknown>(key);
  return Array.isArray(value) ? value.filter((text) => typeof text === 'string').slice(0, MAX_LISTED) : [];
}

/** Which files Culvert looks into, and what it finds in their open texts. Keeps the last result of each, by version. */
export class OpenTexts implements vscode.Disposable {
  readonly #here: Here;
  readonly #results = new Map<string, { readonly version: number; readonly analysis: Analysis }>();
  readonly #subscriptions: vscode.Disposable[];
  #places: { readonly exact: ReadonlyMap<string, Location>; readonly patterns: readonly (readonly [Matcher, Location])[] } | undefined;
  #ignored: readonly Matcher[] | undefined;
  #notSecrets: ReadonlySet<string> | undefined;
  #rules: Promise<SecretRules> | undefined;

  constructor(here: Here) {
    this.#here = here;
    this.#subscriptions = [
      vscode.workspace.onDidChangeWorkspaceFolders(() => {
        this.#places = undefined;
        this.#results.clear();
      }),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (!event.affectsConfiguration(SETTINGS.configurationIgnore) && !event.affectsConfiguration(SETTINGS.notSecrets)) return;
        this.#ignored = undefined;
        this.#notSecrets = undefined;
        this.#results.clear();
      }),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => this.#results.delete(uri.toString())),
    ];
  }

  /** The rules, compiled at the first call. */
  rules(): Promise<SecretRules> {
    this.#rules ??= loadSecretRules();
    return this.#rules;
  }

  /** What a file is to Culvert; `undefined`: none of its business, or on the ignore list. */
  kindOf(uri: vscode.Uri): TextKind | undefined {
    if (uri.scheme !== 'file') return undefined;
    const path = uri.fsPath;
    const location = this.#locationOf(path);
    const kind: TextKind | undefined = location
      ? { kind: 'configuration', location }
      : isDotenvName(basename(path))
        ? { kind: 'dotenv' }
        : undefined;
    return kind && this.ignores(uri) ? undefined : kind;
  }

  /** Whether `${culvert:…}` means something in a file. */
  hasReferences(uri: vscode.Uri): boolean {
    return this.isWorkspaceFile(uri) || this.kindOf(uri) !== undefined;
  }

  isWorkspaceFile(uri: vscode.Uri): boolean {
    return uri.scheme === 'file' && uri.path.endsWith(`/${WORKSPACE_FILE}`);
  }

  /** What an open text holds, as it is now. */
  async analysisOf(document: vscode.TextDocument): Promise<Analysis | undefined> {
    const kind = this.kindOf(document.uri);
    if (!kind) return undefined;
    const key = document.uri.toString();
    const known = this.#results.get(key);
    if (known?.version === document.version) return known.analysis;
    const { looksSecret } = await this.rules();
    this.#notSecrets ??= new Set(listed(SETTINGS.notSecrets));
    const { version } = document;
    const analysis = analyse(document.getText(), kind, this.#notSecrets, looksSecret);
    if (!document.isClosed) this.#results.set(key, { version, analysis });
    return analysis;
  }

  /** Whether the user wants nothing said about a file. */
  ignores(uri: vscode.Uri): boolean {
    this.#ignored ??= listed(SETTINGS.configurationIgnore).map((glob) => compileGlob(glob, '/'));
    if (this.#ignored.length === 0) return false;
    const relative = vscode.workspace.asRelativePath(uri, false);
    return this.#ignored.some((matches) => matches(relative) || matches(uri.path) || matches(basename(dirname(uri.path))));
  }

  dispose(): void {
    for (const one of this.#subscriptions) one.dispose();
    this.#results.clear();
  }

  #locationOf(path: string): Location | undefined {
    if (!this.#places) {
      const all = placesToLook(this.#here.surroundings(), this.#here.workspace());
      const fixed = all.filter((place) => !place.path.includes('*')).reverse();
      const open = all.filter((place) => place.path.includes('*'));
      this.#places = {
        // Of two clients that read the same file the first one counts.
        exact: new Map(fixed.map((place) => [place.path, place])),
        patterns: open.map((place) => [compileGlob(place.path, sep), place]),
      };
    }
    const { exact, patterns } = this.#places;
    const place = exact.get(path) ?? patterns.find(([matches]) => matches(path))?.[1];
    return place && { ...place, path };
  }
}
