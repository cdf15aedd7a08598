import * as vscode from 'vscode';
import { visible } from '../../common/text.ts';
import { CLIENTS } from '../../configuration/clients.ts';
import type { PlaintextSecret } from '../../configuration/plaintext.ts';
import { COMMANDS } from '../names.ts';
import type { OpenTexts } from './openTexts.ts';

/** What a quick fix hands to its command: which secret of which text. No value. */
export interface SecretAddress {
  readonly uri: string;
  readonly id: string;
}

/** Quick fixes of the squiggles under plaintext credentials. */
export class SecretActions implements vscode.CodeActionProvider {
  readonly #texts: OpenTexts;

  constructor(texts: OpenTexts) {
    this.#texts = texts;
  }

  async provideCodeActions(
    document: vscode.TextDocument,
    range: vscode.Range,
    context: vscode.CodeActionContext,
  ): Promise<vscode.CodeAction[]> {
    const own = context.diagnostics.filter(({ source }) => source === 'Culvert');
    if (own.length === 0) return [];
    const analysis = await this.#texts.analysisOf(document);
    return (analysis?.secrets ?? []).flatMap((secret) => {
      const at = new vscode.Range(document.positionAt(secret.span.offset), document.positionAt(secret.span.offset + secret.span.length));
      const diagnostics = own.filter((diagnostic) => diagnostic.range.isEqual(at));
      return diagnostics.length === 0 || !at.intersection(range) ? [] : actionsFor(document, secret, diagnostics);
    });
  }
}

function actionsFor(
  document: vscode.TextDocument,
  secret: PlaintextSecret,
  diagnostics: readonly vscode.Diagnostic[],
): vscode.CodeAction[] {
  const address: SecretAddress = { uri: document.uri.toString(), id: secret.id };
  const action = (title: string, command: string, preferred = false): vscode.CodeAction => {
    const made = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
    made.command = { command, title, arguments: [address] };
    made.diagnostics = [...diagnostics];
    made.isPreferred = preferred;
    return made;
  };
  const { entry, pair } = secret;
  return [
    ...(entry
      ? [action(`Seal in Culvert and route “${visible(entry.name, 40)}” through the tunnel`, COMMANDS.secretRoute, true)]
      : pair
        ? [action('Seal in Culvert and route the servers that read this file through the tunnel', COMMANDS.secretRoute)]
        : []),
    action('Seal in Culvert and replace with a reference', COMMANDS.secretReference),
    action('Not a secret: remember in settings', COMMANDS.secretIgnore),
    ...(takesComments(document, entry?.client) ? [action('Not a secret: say so in a comment', COMMANDS.secretComment)] : []),
  ];
}

/** Whether whoever reads the file takes comments: plain JSON has none, though our reader is patient. */
export function takesComments(document: vscode.TextDocument, client?: keyof typeof CLIENTS): boolean {
  return (
    document.languageId !== 'json' &&
    (client === undefined || client === 'vscode' || client === 'zed' || client === 'codex' || client === 'continue')
  );
}
