import * as vscode from 'vscode';
import type { App } from './app.ts';
import { LANGUAGES, RECORD_SCHEME } from './names.ts';

/** Read-only documents: what the record says about a call, and the details of a call that waits. */
export class RecordDocuments implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #details = new Map<string, string>();
  readonly #registration: vscode.Disposable;
  #app: App | undefined;
  #serial = 0;

  constructor() {
    this.#registration = vscode.workspace.registerTextDocumentContentProvider(RECORD_SCHEME, this);
  }

  attach(app: App | undefined): void {
    this.#app = app;
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    if (uri.authority === 'details') return this.#details.get(uri.path) ?? '';
    const exchange = uri.path.split('/')[1]?.replace(/\.json$/, '') ?? '';
    const entries = this.#app?.core.audit.entries({ exchange, limit: 10 }) ?? [];
    if (entries.length === 0) return 'The record holds nothing about this call.\n';
    return `${JSON.stringify(
      entries.reverse().map(({ kind, at, chain, n, body }) => ({ kind, at: new Date(at).toISOString(), chain, entry: n, ...body })),
      undefined,
      2,
    )}\n`;
  }

  /** Opens the record of one call. */
  async showRecord(exchange: string): Promise<void> {
    await open(vscode.Uri.from({ scheme: RECORD_SCHEME, authority: 'record', path: `/${exchange}.json` }), LANGUAGES.record);
  }

  /** Opens a text that is made for the occasion. */
  async showDetails(title: string, text: string): Promise<void> {
    const path = `/${++this.#serial}/${title.replace(/[^\w ().-]/g, '_')}`;
    this.#details.set(path, text);
    await open(vscode.Uri.from({ scheme: RECORD_SCHEME, authority: 'details', path }), LANGUAGES.output);
  }

  dispose(): void {
    this.#registration.dispose();
    this.#details.clear();
  }
}

async function open(uri: vscode.Uri, language: string): Promise<void> {
  const document = await vscode.workspace.openTextDocument(uri);
  await vscode.languages.setTextDocumentLanguage(document, language);
  await vscode.window.showTextDocument(document, { preview: true, preserveFocus: false });
}
