import * as vscode from 'vscode';
import { randomBytes } from 'node:crypto';
import type { Disposable } from '../../common/disposable.ts';
import { messageOf } from '../../common/errors.ts';
import type { App } from '../app.ts';
import { COMMANDS, VIEWS } from '../names.ts';
import type { ToPanel } from './messages.ts';

/** How long after an entry the panel is told, milliseconds: many at once are one. */
const TELL_MS = 500;
/** How often what other windows wrote is looked for while the panel is visible, milliseconds. */
const LOOK_MS = 3_000;

/** **Agent Activity**: pictures of what agents do, in the secondary side bar. Nothing of it is loaded before it is opened. */
export class ActivityPanel implements vscode.WebviewViewProvider, vscode.Disposable {
  readonly #extension: vscode.Uri;
  readonly #app: () => App | undefined;
  readonly #registration: vscode.Disposable;
  #view: vscode.WebviewView | undefined;
  #subscriptions: Disposable[] = [];
  #timer: NodeJS.Timeout | undefined;
  #seen = -1;
  readonly #labels = new Map<string, string>();

  constructor(extension: vscode.Uri, app: () => App | undefined) {
    this.#extension = extension;
    this.#app = app;
    this.#registration = vscode.window.registerWebviewViewProvider(VIEWS.panel, this);
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    this.#close();
    this.#view = view;
    const dist = vscode.Uri.joinPath(this.#extension, 'dist');
    view.webview.options = { enableScripts: true, localResourceRoots: [dist] };
    const look = setInterval(() => void this.#look(), LOOK_MS);
    this.#subscriptions = [
      view.webview.onDidReceiveMessage((message: unknown) => void this.#answer(message)),
      view.onDidChangeVisibility(() => this.#tell()),
      view.onDidDispose(() => this.#close()),
      { dispose: () => clearInterval(look) },
    ];
    this.attach();
    view.webview.html = panelHtml(view.webview, dist);
  }

  /** The app was opened or closed: what the panel shows is read anew. */
  attach(): void {
    this.#labels.clear();
    const audit = this.#app()?.core.audit;
    if (this.#view && audit) this.#subscriptions.push(audit.onDidAppend(() => this.#soon()));
    this.#soon();
  }

  dispose(): void {
    this.#close();
    this.#registration.dispose();
  }

  async #answer(message: unknown): Promise<void> {
    const { FromPanel } = await import('./messages.ts');
    const { data } = FromPanel.safeParse(message);
    if (!data) return;
    const app = this.#app();
    try {
      switch (data.kind) {
        case 'ready':
          this.#tell();
          return;
        case 'open':
          await vscode.commands.executeCommand(COMMANDS.showRecord, { kind: 'call', exchange: data.exchange });
          return;
        case 'addServer':
          await vscode.commands.executeCommand(COMMANDS.addServer);
          return;
        case 'query': {
          if (!app) throw new Error('Culvert is not running in this window. The Culvert view says why.');
          const { summaryOf } = await import('./panelData.ts');
          const summary = await summaryOf(app.core.index, data, Date.now(), (id) => this.#labelOf(app, id));
          await this.#learn(app, summary.servers);
          this.#post({
            ...summary,
            servers: summary.servers.map(({ id, label }) => ({ id, label: id === '' ? label : this.#labelOf(app, id) })),
          });
          return;
        }
        case 'list': {
          if (!app) return;
          const { rowsOf } = await import('./panelData.ts');
          this.#post({ kind: 'rows', serial: data.serial, more: data.before !== undefined, ...(await rowsOf(app.core.index, data)) });
        }
      }
    } catch (error) {
      app?.logger.debug(`Agent Activity: ${messageOf(error)}`);
      if ('serial' in data) this.#post({ kind: 'failed', serial: data.serial, message: messageOf(error).slice(0, 1_000) });
    }
  }

  #post(message: ToPanel): void {
    void this.#view?.webview.postMessage(message);
  }

  #soon(): void {
    if (!this.#view) return;
    this.#timer ??= setTimeout(() => this.#tell(), TELL_MS);
  }

  #tell(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#view?.visible !== true) return;
    this.#post({ kind: 'changed' });
  }

  /** Whether another window wrote something, or the index came nearer to the record. */
  async #look(): Promise<void> {
    const index = this.#app()?.core.index;
    if (!index || this.#view?.visible !== true) return;
    await index.update().catch(() => undefined);
    const indexed = index.status.entries - index.status.behind;
    if (indexed === this.#seen) return;
    this.#seen = indexed;
    this.#tell();
  }

  #labelOf(app: App, id: string): string {
    return (app.core.servers.get(id)?.label ?? this.#labels.get(id) ?? 'a removed server').slice(0, 200);
  }

  /** Looks up what servers were called that are gone. */
  async #learn(app: App, servers: readonly { readonly id: string }[]): Promise<void> {
    for (const { id } of servers) {
      if (id === '' || app.core.servers.get(id) || this.#labels.has(id)) continue;
      const { calls } = await app.core.index.calls({ server: id }, { limit: 1 });
      if (calls[0]) this.#labels.set(id, calls[0].intent.serverLabel);
    }
  }

  #close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#view = undefined;
    for (const item of this.#subscriptions.splice(0)) item.dispose();
  }
}

/** The page: one script, one style sheet, nothing from outside. */
function panelHtml(webview: vscode.Webview, dist: vscode.Uri): string {
  const nonce = randomBytes(16).toString('base64');
  const file = (name: string) => webview.asWebviewUri(vscode.Uri.joinPath(dist, name)).toString();
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'nonce-${nonce}'; style-src ${webview.cspSource}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${file('panel.css')}">
<title>Agent Activity</title>
</head>
<body>
<main id="panel" aria-busy="true"></main>
<script nonce="${nonce}" src="${file('panel.js')}"></script>
</body>
</html>`;
}
