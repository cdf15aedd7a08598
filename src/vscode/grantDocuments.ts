import * as vscode from 'vscode';
import type { NewGrant } from '../authorization/grantChanges.ts';
import { grantText, readGrantText } from '../authorization/editableGrant.ts';
import type { Grant } from '../authorization/grant.ts';
import type { PolicyProblem } from '../authorization/policy/layer.ts';
import type { App } from './app.ts';
import { GRANT_SCHEME } from './names.ts';

/** End of the name of such a document; package.json binds the schema to it. */
const SUFFIX = '.culvert-grant.jsonc';
/** How long typing may pause before what was typed is checked, milliseconds. */
const CHECK_MS = 200;

/** Grants as documents that can be edited: checked while they are typed, put into force when they are saved, and not saved if not valid. */
export class GrantDocuments implements vscode.FileSystemProvider, vscode.Disposable {
  readonly #app: App;
  readonly #changed = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly #problems = vscode.languages.createDiagnosticCollection('culvert-grant');
  readonly #subscriptions: vscode.Disposable[];
  readonly #checks = new Map<string, NodeJS.Timeout>();
  /** A saved grant is a new row: by path of the document, the row that it is now. */
  readonly #current = new Map<string, { readonly id: string; readonly at: number }>();

  readonly onDidChangeFile = this.#changed.event;

  constructor(app: App) {
    this.#app = app;
    this.#subscriptions = [
      vscode.workspace.registerFileSystemProvider(GRANT_SCHEME, this, { isCaseSensitive: true }),
      this.#problems,
      this.#changed,
      vscode.workspace.onDidOpenTextDocument((document) => this.#checkSoon(document, 0)),
      vscode.workspace.onDidChangeTextDocument(({ document }) => this.#checkSoon(document, CHECK_MS)),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => this.#problems.delete(uri)),
    ];
    // Those that were open before a reload.
    for (const document of vscode.workspace.textDocuments) this.#checkSoon(document, 0);
  }

  /** Opens a grant for editing. */
  async edit(grant: Grant): Promise<void> {
    const label = this.#app.core.servers.get(grant.server)?.label ?? 'server';
    const name = `${label}-${grant.effect}`.replace(/[^\w.-]+/g, '-');
    const uri = vscode.Uri.from({ scheme: GRANT_SCHEME, path: `/${grant.id}/${name}${SUFFIX}` });
    await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(uri), { preview: false });
  }

  /** What a document says, if it is one of these and valid: the grant that it is about, and what would become of it. */
  read(document: vscode.TextDocument): { readonly before: Grant; readonly after: NewGrant } | undefined {
    if (document.uri.scheme !== GRANT_SCHEME) return undefined;
    const before = this.#grantOf(document.uri);
    const read = before && readGrantText(document.uri.path, document.getText(), before, Date.now());
    return before && read?.ok === true ? { before, after: read.grant } : undefined;
  }

  stat(uri: vscode.Uri): vscode.FileStat {
    const grant = this.#grantOf(uri);
    if (!grant) throw vscode.FileSystemError.FileNotFound('This grant is no more.');
    const size = Buffer.byteLength(this.#textOf(grant));
    return { type: vscode.FileType.File, ctime: grant.createdAt, mtime: this.#current.get(uri.path)?.at ?? grant.createdAt, size };
  }

  readFile(uri: vscode.Uri): Uint8Array {
    const grant = this.#grantOf(uri);
    if (!grant) throw vscode.FileSystemError.FileNotFound('This grant is no more.');
    return Buffer.from(this.#textOf(grant));
  }

  /** Puts the edited grant into force. Throws with the place of the first problem, and nothing changes. */
  writeFile(uri: vscode.Uri, content: Uint8Array): void {
    const { core } = this.#app;
    const grant = this.#grantOf(uri);
    if (!grant) throw vscode.FileSystemError.FileNotFound('This grant was revoked or has ended, so it can’t be saved.');
    const text = new TextDecoder().decode(content);
    const now = Date.now();
    const read = readGrantText(uri.path, text, grant, now);
    this.#show(uri, read.ok ? [] : read.problems);
    if (!read.ok) {
      const [first] = read.problems;
      throw new vscode.FileSystemError(`The grant was not saved. Line ${(first?.line ?? 0) + 1}: ${first?.message ?? 'not valid'}`);
    }
    const made = core.access.replace(grant.id, read.grant);
    if (!made) throw vscode.FileSystemError.FileNotFound('This grant was revoked or has ended, so it can’t be saved.');
    this.#current.set(uri.path, { id: made.id, at: now });
  }

  watch(): vscode.Disposable {
    return new vscode.Disposable(() => undefined);
  }

  readDirectory(): [string, vscode.FileType][] {
    return [];
  }

  createDirectory(): void {
    throw vscode.FileSystemError.NoPermissions();
  }

  delete(): void {
    throw vscode.FileSystemError.NoPermissions('Grants are withdrawn with “Culvert: Revoke…”.');
  }

  rename(): void {
    throw vscode.FileSystemError.NoPermissions();
  }

  dispose(): void {
    for (const timer of this.#checks.values()) clearTimeout(timer);
    for (const s of this.#subscriptions) s.dispose();
  }

  #grantOf({ path }: vscode.Uri): Grant | undefined {
    const id = this.#current.get(path)?.id ?? path.split('/')[1] ?? '';
    return this.#app.core.access.all().find((g) => g.id === id);
  }

  #textOf(grant: Grant): string {
    return grantText(grant, this.#app.core.servers.get(grant.server)?.label ?? 'a removed server');
  }

  #checkSoon(document: vscode.TextDocument, afterMs: number): void {
    if (document.uri.scheme !== GRANT_SCHEME) return;
    const key = document.uri.toString();
    clearTimeout(this.#checks.get(key));
    this.#checks.set(
      key,
      setTimeout(() => {
        this.#checks.delete(key);
        const grant = this.#grantOf(document.uri);
        if (!grant || document.isClosed) return;
        const read = readGrantText(document.uri.path, document.getText(), grant, Date.now());
        this.#show(document.uri, read.ok ? [] : read.problems);
      }, afterMs),
    );
  }

  #show(uri: vscode.Uri, problems: readonly PolicyProblem[]): void {
    this.#problems.set(
      uri,
      problems.map((p) => {
        const found = new vscode.Diagnostic(
          new vscode.Range(p.line, p.column, p.endLine, p.endColumn),
          p.message,
          vscode.DiagnosticSeverity.Error,
        );
        found.source = 'Culvert';
        return found;
      }),
    );
  }
}
