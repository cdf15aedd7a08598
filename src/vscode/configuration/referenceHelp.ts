import * as vscode from 'vscode';
import { visible } from '../../common/text.ts';
import { culvertReference, findReferences, REFERENCE_NAME, type Reference } from '../../configuration/references.ts';
import { describePlacement } from '../../credentials/credential.ts';
import { describeBinding } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { ago, asMarkdownText } from '../views/items.ts';
import type { OpenTexts } from './openTexts.ts';

/** Hovers over and completion of `${culvert:name}`. */
export class ReferenceHelp implements vscode.HoverProvider, vscode.CompletionItemProvider {
  readonly #app: App;
  readonly #texts: OpenTexts;

  constructor(app: App, texts: OpenTexts) {
    this.#app = app;
    this.#texts = texts;
  }

  provideHover(document: vscode.TextDocument, position: vscode.Position): vscode.Hover | undefined {
    if (!this.#texts.hasReferences(document.uri)) return undefined;
    const line = document.lineAt(position.line).text;
    const found = findReferences(line).find(
      ({ kind, span }) => kind === 'culvert' && position.character >= span.offset && position.character <= span.offset + span.length,
    );
    if (!found) return undefined;
    const { offset, length } = found.span;
    return new vscode.Hover(this.#explain(found), new vscode.Range(position.line, offset, position.line, offset + length));
  }

  provideCompletionItems(document: vscode.TextDocument, position: vscode.Position): vscode.CompletionItem[] {
    if (!this.#texts.hasReferences(document.uri)) return [];
    const line = document.lineAt(position.line).text;
    const begun = /\$\{?[\w:.-]*$/.exec(line.slice(0, position.character))?.[0];
    if (begun === undefined || !'${culvert:'.startsWith(begun.slice(0, '${culvert:'.length))) return [];
    const rest = /^[\w.-]*\}?/.exec(line.slice(position.character))?.[0].length ?? 0;
    const range = new vscode.Range(position.line, position.character - begun.length, position.line, position.character + rest);
    return this.#app.core.credentials
      .list()
      .filter(({ name }) => REFERENCE_NAME.test(name))
      .map((credential) => {
        const item = new vscode.CompletionItem(culvertReference(credential.name), vscode.CompletionItemKind.Reference);
        item.range = range;
        item.filterText = culvertReference(credential.name);
        item.detail = credential.origins.map(describeBinding).join(', ') || 'bound to nothing yet';
        item.documentation = `A credential sealed in Culvert: ${describePlacement(credential.placement)}.`;
        return item;
      });
  }

  #explain({ name }: Reference): vscode.MarkdownString {
    const { core } = this.#app;
    const credential = core.credentials.list().find((one) => one.name === name);
    const shown = asMarkdownText(visible(name, 60));
    if (!credential)
      return new vscode.MarkdownString(
        `**${shown}** is not filled: no credential of that name is sealed here. *Culvert: Seal Missing Credentials…* asks for it.`,
      );
    const servers = core.servers.list().filter((server) => server.credentials.includes(credential.id));
    const goes = credential.origins.map((origin) => asMarkdownText(describeBinding(origin))).join(', ');
    const use = core.credentials.lastUse(credential.id);
    return new vscode.MarkdownString(
      [
        `**${shown}** is sealed in Culvert: ${asMarkdownText(describePlacement(credential.placement))}.`,
        goes === '' ? 'It is bound to nothing yet, so it goes nowhere.' : `It goes to ${goes} only.`,
        servers.length === 0 ? 'No server uses it.' : `Used by ${servers.map(({ label }) => asMarkdownText(label)).join(', ')}.`,
        use ? `Last used ${ago(use.at, Date.now())}.` : 'Never used so far.',
      ].join('\n\n'),
    );
  }
}
