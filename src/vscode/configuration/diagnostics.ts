import * as vscode from 'vscode';
import { describeExposure, exposureOf, systemGit } from '../../configuration/exposure.ts';
import { nodeFiles } from '../../configuration/nodeFiles.ts';
import type { PlaintextSecret } from '../../configuration/plaintext.ts';
import type { OpenTexts } from './openTexts.ts';

/** How long nothing is typed before a text is looked at again, milliseconds. */
const SETTLE_MS = 400;
/** How long what is known about who can read a file counts, milliseconds. */
const EXPOSURE_MS = 60_000;

/** Marks plaintext credentials in the texts that are open. What it says never holds a value: agents read diagnostics too. */
export class SecretDiagnostics implements vscode.Disposable {
  readonly #texts: OpenTexts;
  readonly #collection = vscode.languages.createDiagnosticCollection('culvert');
  readonly #waiting = new Map<string, NodeJS.Timeout>();
  readonly #exposures = new Map<string, { readonly at: number; readonly sentences: readonly string[] }>();
  readonly #subscriptions: vscode.Disposable[];

  constructor(texts: OpenTexts) {
    this.#texts = texts;
    const all = () => vscode.workspace.textDocuments.forEach((document) => this.#soon(document));
    this.#subscriptions = [
      this.#collection,
      vscode.workspace.onDidOpenTextDocument((document) => this.#soon(document)),
      vscode.workspace.onDidChangeTextDocument(({ document }) => this.#soon(document)),
      vscode.workspace.onDidCloseTextDocument((document) => this.#forget(document.uri)),
      // After whoever keeps the lists heard of it.
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration('culvert.configuration')) setTimeout(all, 0);
      }),
      vscode.workspace.onDidGrantWorkspaceTrust(all),
    ];
    all();
  }

  dispose(): void {
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
    for (const one of this.#subscriptions) one.dispose();
  }

  #soon(document: vscode.TextDocument): void {
    const key = document.uri.toString();
    clearTimeout(this.#waiting.get(key));
    this.#waiting.delete(key);
    if (this.#texts.kindOf(document.uri) === undefined) {
      this.#collection.delete(document.uri);
      return;
    }
    this.#waiting.set(
      key,
      setTimeout(() => {
        this.#waiting.delete(key);
        void this.#look(document);
      }, SETTLE_MS),
    );
  }

  #forget(uri: vscode.Uri): void {
    clearTimeout(this.#waiting.get(uri.toString()));
    this.#waiting.delete(uri.toString());
    this.#collection.delete(uri);
  }

  async #look(document: vscode.TextDocument): Promise<void> {
    const { version } = document;
    const analysis = await this.#texts.analysisOf(document);
    if (!analysis || document.isClosed || document.version !== version) return;
    if (analysis.secrets.length === 0) {
      this.#collection.delete(document.uri);
      return;
    }
    const [exposure, { pageOf }] = await Promise.all([this.#exposureOf(document.uri), this.#texts.rules()]);
    if (!vscode.workspace.textDocuments.includes(document) || document.version !== version) return;
    this.#collection.set(
      document.uri,
      analysis.secrets.map((secret) => diagnosticOf(document, secret, exposure, pageOf(secret.value.reveal()))),
    );
  }

  async #exposureOf({ fsPath }: vscode.Uri): Promise<readonly string[]> {
    const known = this.#exposures.get(fsPath);
    if (known && Date.now() - known.at < EXPOSURE_MS) return known.sentences;
    const kind = this.#texts.kindOf(vscode.Uri.file(fsPath));
    const location = kind?.kind === 'configuration' ? kind.location : undefined;
    const facts = await nodeFiles.facts(fsPath).catch(() => undefined);
    const file = { path: fsPath, mode: facts?.mode ?? 0, ...(location ? { scope: location.scope, client: location.client } : {}) };
    const sentences = describeExposure(await exposureOf(file, vscode.workspace.isTrusted ? systemGit : undefined));
    this.#exposures.set(fsPath, { at: Date.now(), sentences });
    return sentences;
  }
}

function diagnosticOf(
  document: vscode.TextDocument,
  secret: PlaintextSecret,
  exposure: readonly string[],
  page: string | undefined,
): vscode.Diagnostic {
  const { span, look, credential, entry } = secret;
  const range = new vscode.Range(document.positionAt(span.offset), document.positionAt(span.offset + span.length));
  const sentences = [
    `${look.what.charAt(0).toUpperCase()}${look.what.slice(1)} stands here in plaintext: every program of yours can read it, and every agent with file tools.`,
    ...exposure,
    ...(credential?.obstacle === undefined ? [] : [credential.obstacle]),
  ];
  const certain = look.certain || (entry !== undefined && credential?.placement !== undefined);
  const diagnostic = new vscode.Diagnostic(
    range,
    sentences.join(' '),
    certain ? vscode.DiagnosticSeverity.Warning : vscode.DiagnosticSeverity.Information,
  );
  diagnostic.source = 'Culvert';
  diagnostic.code = page === undefined ? look.rule : { value: look.rule, target: vscode.Uri.parse(page) };
  return diagnostic;
}
