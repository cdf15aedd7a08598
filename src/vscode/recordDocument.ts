import * as vscode from 'vscode';
import type { Entry, Intent } from '../audit/record.ts';
import { describeGrant } from '../authorization/grant.ts';
import type { Disposable } from '../common/disposable.ts';
import { messageOf } from '../common/errors.ts';
import type { App } from './app.ts';
import { COMMANDS, LANGUAGES, RECORD_SCHEME } from './names.ts';
import { FIELD_HELP } from './record/recordFields.ts';
import { recordPage, type RecordPage, type RecordSurroundings } from './record/recordPage.ts';

/** How long after an entry an open document of a running call is read again, milliseconds. */
const REREAD_MS = 100;
/** How often it is read again for what other windows wrote, milliseconds. */
const LOOK_MS = 2_000;
/** How long after a call its continuation is looked for, milliseconds. */
const CONTINUED_WITHIN_MS = 60 * 60_000;
/** Documents whose places are remembered; of more, the oldest lose their links until they are shown again. */
const MAX_PAGES = 100;

/** Read-only documents: what the record says about a call, and the details of a call that waits. */
export class RecordDocuments
  implements
    vscode.TextDocumentContentProvider,
    vscode.DocumentLinkProvider,
    vscode.CodeLensProvider,
    vscode.FoldingRangeProvider,
    vscode.HoverProvider,
    vscode.DocumentSymbolProvider,
    vscode.Disposable
{
  readonly #details = new Map<string, string>();
  readonly #pages = new Map<string, RecordPage>();
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly #registration: vscode.Disposable;
  #app: App | undefined;
  #subscription: Disposable | undefined;
  #timer: NodeJS.Timeout | undefined;
  #look: NodeJS.Timeout | undefined;
  #serial = 0;

  readonly onDidChange = this.#changed.event;

  constructor() {
    const selector: vscode.DocumentSelector = { scheme: RECORD_SCHEME, language: LANGUAGES.record };
    this.#registration = vscode.Disposable.from(
      this.#changed,
      vscode.workspace.registerTextDocumentContentProvider(RECORD_SCHEME, this),
      vscode.languages.registerDocumentLinkProvider(selector, this),
      vscode.languages.registerCodeLensProvider(selector, this),
      vscode.languages.registerFoldingRangeProvider(selector, this),
      vscode.languages.registerHoverProvider(selector, this),
      vscode.languages.registerDocumentSymbolProvider(selector, this),
    );
  }

  attach(app: App | undefined): void {
    this.#app = app;
    this.#subscription?.dispose();
    this.#subscription = app?.core.audit.onDidAppend(() => {
      if (this.#running().length > 0) this.#timer ??= setTimeout(() => this.#reread(), REREAD_MS);
    });
    if (app) for (const { uri } of this.#shown()) this.#changed.fire(uri);
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    if (uri.authority === 'details') return this.#details.get(uri.path) ?? '';
    const page = await this.page(exchangeOf(uri)).catch((error: unknown) => messageOf(error));
    if (page === undefined) return 'Culvert is not running in this window, so the record can’t be read here.\n';
    if (typeof page === 'string') return `The record of this call can’t be shown: ${page}\n`;
    this.#pages.delete(uri.toString());
    this.#pages.set(uri.toString(), page);
    for (const old of this.#pages.keys()) {
      if (this.#pages.size <= MAX_PAGES) break;
      this.#pages.delete(old);
    }
    if (page.open) this.#look ??= setInterval(() => this.#reread(), LOOK_MS);
    return page.text;
  }

  /** The record of a call for reading; `undefined` while Culvert is not running. `onlyShapes`: as it may be shown to others. */
  async page(exchange: string, onlyShapes = false): Promise<RecordPage | undefined> {
    const app = this.#app;
    if (!app) return undefined;
    const { core } = app;
    // What was no secret when it was written may be one now.
    const entries = core.inspector.redactPlain<Entry[]>(await core.index.record(exchange));
    return recordPage(entries, {
      taskName: (id) => core.access.tasks.get(id)?.name,
      grantWords: (id) => {
        const grant = core.access.all().find((g) => g.id === id);
        return grant ? describeGrant(grant) : 'no longer there';
      },
      credentialId: (name) => core.credentials.list().find((credential) => credential.name === name)?.id,
      onlyShapes,
      ...(await this.#neighbours(app, entries)),
    });
  }

  /** The exchange of a record document; `undefined` for anything else. */
  exchangeOf(uri: vscode.Uri | undefined): string | undefined {
    return uri?.scheme === RECORD_SCHEME && uri.authority === 'record' ? exchangeOf(uri) : undefined;
  }

  provideDocumentLinks({ uri }: vscode.TextDocument): vscode.DocumentLink[] {
    return (this.#pages.get(uri.toString())?.links ?? []).map(({ line, from, to, target, tooltip }) => {
      const link = new vscode.DocumentLink(new vscode.Range(line, from, line, to), commandUri(COMMANDS.openRecordTarget, target));
      link.tooltip = tooltip;
      return link;
    });
  }

  provideCodeLenses({ uri }: vscode.TextDocument): vscode.CodeLens[] {
    if (!this.#pages.get(uri.toString())?.intent) return [];
    const top = new vscode.Range(0, 0, 0, 0);
    const argument = { exchange: exchangeOf(uri) };
    return [
      new vscode.CodeLens(top, {
        command: COMMANDS.replayCall,
        title: '$(beaker) Replay as Policy Test',
        tooltip: 'How would this call be decided now? Nothing is sent.',
        arguments: [argument],
      }),
      new vscode.CodeLens(top, {
        command: COMMANDS.revokeCallAccess,
        title: '$(circle-slash) Revoke This Access',
        tooltip: 'End what lets this call through',
        arguments: [argument],
      }),
      new vscode.CodeLens(top, {
        command: COMMANDS.copyRedacted,
        title: '$(copy) Copy Redacted',
        tooltip: 'Copy this record without what is in arguments and result, for showing to others',
        arguments: [argument],
      }),
    ];
  }

  provideFoldingRanges({ uri }: vscode.TextDocument): vscode.FoldingRange[] {
    return (this.#pages.get(uri.toString())?.sections ?? []).map(({ from, to }) => new vscode.FoldingRange(from, to));
  }

  provideDocumentSymbols(document: vscode.TextDocument): vscode.DocumentSymbol[] {
    return (this.#pages.get(document.uri.toString())?.sections ?? []).map(({ from, to }) => {
      const range = new vscode.Range(from, 0, to, document.lineAt(to).text.length);
      return new vscode.DocumentSymbol(document.lineAt(from).text, '', vscode.SymbolKind.Namespace, range, document.lineAt(from).range);
    });
  }

  provideHover(document: vscode.TextDocument, { line }: vscode.Position): vscode.Hover | undefined {
    const text = document.lineAt(line).text;
    const name = /^ {2}([a-z]+(?: [a-z]+)*) +\S/.exec(text)?.[1];
    const help = name === undefined || !Object.hasOwn(FIELD_HELP, name) ? undefined : FIELD_HELP[name];
    return help === undefined ? undefined : new vscode.Hover(help, new vscode.Range(line, 2, line, text.length));
  }

  /** Opens the record of one call. */
  async showRecord(exchange: string): Promise<void> {
    const page = await this.page(exchange).catch(() => undefined);
    const name = page?.intent?.tool ?? page?.intent?.method ?? 'record';
    const path = `/${exchange}/${name.replace(/[^\w.-]/g, '_').slice(0, 80)}`;
    await open(vscode.Uri.from({ scheme: RECORD_SCHEME, authority: 'record', path }), LANGUAGES.record);
  }

  /** Opens a text that is made for the occasion. */
  async showDetails(title: string, text: string): Promise<void> {
    const path = `/${++this.#serial}/${title.replace(/[^\w ().-]/g, '_')}`;
    this.#details.set(path, text);
    await open(vscode.Uri.from({ scheme: RECORD_SCHEME, authority: 'details', path }), LANGUAGES.output);
  }

  dispose(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#look);
    this.#subscription?.dispose();
    this.#registration.dispose();
    this.#details.clear();
  }

  async #neighbours({ core }: App, entries: readonly Entry[]): Promise<RecordSurroundings> {
    const [intent, outcome] = ['intent', 'outcome'].map((kind) => entries.find((entry) => entry.kind === kind));
    if (!intent || !outcome || !('inputRequired' in outcome.body) || !outcome.body.inputRequired) return {};
    const { exchange } = intent;
    const { calls } = await core.index.calls(
      { server: (intent.body as Intent).server, from: intent.at, to: intent.at + CONTINUED_WITHIN_MS, text: exchange ?? '' },
      { limit: 5 },
    );
    return { continuedBy: calls.find((call) => call.intent.continues === exchange)?.exchange };
  }

  #shown(): readonly vscode.TextDocument[] {
    return vscode.workspace.textDocuments.filter(({ uri }) => uri.scheme === RECORD_SCHEME && uri.authority === 'record');
  }

  #running(): readonly vscode.TextDocument[] {
    return this.#shown().filter(({ uri }) => this.#pages.get(uri.toString())?.open === true);
  }

  #reread(): void {
    this.#timer = undefined;
    const running = this.#running();
    if (running.length === 0) {
      clearInterval(this.#look);
      this.#look = undefined;
    }
    for (const { uri } of running) this.#changed.fire(uri);
  }
}

function exchangeOf(uri: vscode.Uri): string {
  return uri.path.split('/')[1] ?? '';
}

function commandUri(command: string, argument: unknown): vscode.Uri {
  return vscode.Uri.parse(`command:${command}?${encodeURIComponent(JSON.stringify([argument]))}`);
}

async function open(uri: vscode.Uri, language: string): Promise<void> {
  const document = await vscode.workspace.openTextDocument(uri);
  await vscode.languages.setTextDocumentLanguage(document, language);
  await vscode.window.showTextDocument(document, { preview: true, preserveFocus: false });
}
