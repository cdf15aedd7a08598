import * as vscode from 'vscode';
import { isProblem, type FileProblem } from '../../configuration/document.ts';
import { referDotenv } from '../../configuration/dotenv.ts';
import { replaceByReference, replaceText } from '../../configuration/edit.ts';
import { fileName, openTextFile, type TextFile } from '../../configuration/files.ts';
import { runImport } from '../../configuration/importer.ts';
import { nodeFiles } from '../../configuration/nodeFiles.ts';
import { placeOf } from '../../configuration/place.ts';
import { analyse, notSecretComment, type Analysis, type PlaintextSecret } from '../../configuration/plaintext.ts';
import { suggestName, type ImportPlan } from '../../configuration/plan.ts';
import { REFERENCE_NAME, culvertReference } from '../../configuration/references.ts';
import { findCredentials, type FoundPlacement } from '../../configuration/credentials.ts';
import { applyEdits } from '../../configuration/textEdit.ts';
import { bindingOf } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { SETTINGS } from '../names.ts';
import { askText, single } from '../steps.ts';
import type { Here } from './here.ts';
import { AppPorts, saveOpenEditors } from './importPorts.ts';
import type { Imported } from './importServers.ts';
import type { OpenTexts } from './openTexts.ts';
import type { SecretAddress } from './secretActions.ts';

const TITLE = 'Culvert: Seal';

/** The secret that a quick fix is about, as its text is now. */
export async function secretAt(
  texts: OpenTexts,
  address: SecretAddress,
): Promise<{ readonly document: vscode.TextDocument; readonly secret: PlaintextSecret } | undefined> {
  const document = await vscode.workspace.openTextDocument(vscode.Uri.parse(address.uri, true));
  const analysis = await texts.analysisOf(document);
  const [hash] = address.id.split('@');
  const secret = analysis?.secrets.find(({ id }) => id === address.id) ?? analysis?.secrets.find((one) => one.hash === hash);
  return secret && { document, secret };
}

/**
 * Seals one secret and puts `${culvert:name}` in its place. Resolves to what was done, for the undo; `undefined` if nothing was, which has
 * been said then.
 */
export async function sealInPlace(app: App, here: Here, texts: OpenTexts, address: SecretAddress): Promise<Imported | undefined> {
  const found = await secretAt(texts, address);
  if (!found) return undefined;
  const path = found.document.uri.fsPath;
  const kind = texts.kindOf(found.document.uri);
  if (!kind || !(await saveOpenEditors([path]))) return undefined;
  const file = await openTextFile(nodeFiles, path);
  if (isProblem(file)) throw new Error(file.message);
  const { looksSecret } = await texts.rules();
  const analysis = analyse(file.text, kind, new Set(), looksSecret);
  const secret = analysis.secrets.find(({ id }) => id === address.id) ?? analysis.secrets.find((one) => one.hash === found.secret.hash);
  if (!secret) throw new Error(`${fileName(path)} was changed in the meantime. Nothing was written; try again.`);

  const name = await askName(app, secret);
  if (name === undefined) return undefined;
  const text = replaced(analysis, file, secret, name);
  if (typeof text !== 'string') throw new Error(text.message);
  const plan: ImportPlan = {
    seals: [
      {
        id: 'seal-1',
        name,
        placement: placementOf(secret),
        binding: bindingFor(here, path, secret),
        value: secret.value,
        evidence: culvertReference(name),
        what: secret.look.what,
        uncertain: false,
      },
    ],
    registers: [],
    writes: [],
    texts: [{ file, text, notices: [] }],
    refused: [],
  };
  const ports = new AppPorts(app, TITLE, 'nothing');
  const outcome = await runImport(plan, ports);
  if (outcome.kind === 'done') return { plan, undo: outcome.undo, ports, picked: [] };
  if (outcome.kind === 'failed') throw new Error([outcome.reason, ...outcome.leftBehind].join(' '));
  return undefined;
}

function placementOf({ credential, pair }: PlaintextSecret): FoundPlacement {
  return credential?.placement ?? (pair ? { kind: 'environment', name: pair.name } : { kind: 'bearer' });
}

/** What the secret may go to: where its own server is. Empty: nowhere, until the user says. */
function bindingFor(here: Here, path: string, { entry }: PlaintextSecret): string {
  if (!entry) return '';
  const found = placeOf(entry, findCredentials(entry), here.contextOf({ path }));
  return 'place' in found ? bindingOf(found.place) : '';
}

function replaced(analysis: Analysis, file: TextFile, secret: PlaintextSecret, name: string): string | FileProblem {
  const shown = fileName(file.path);
  const { credential, pair, path } = secret;
  if (pair) {
    const edit = referDotenv(file.text, pair, name, shown);
    return isProblem(edit) ? edit : applyEdits(file.text, [edit]);
  }
  if (!analysis.document || !path) return { code: 'changed', message: `${shown} is not as it was. Try again.` };
  const edit = credential
    ? replaceByReference(analysis.document, credential, name, shown)
    : replaceText(analysis.document, path, 0, secret.value.reveal().length, culvertReference(name), shown);
  return isProblem(edit) ? edit : edit.text;
}

async function askName(app: App, secret: PlaintextSecret): Promise<string | undefined> {
  const taken = new Set(app.core.credentials.list().map(({ name }) => name.toLowerCase()));
  const base = suggestName(secret.entry?.name ?? '', secret.credential?.placement ?? { kind: 'header', name: secret.name }).slice(0, 50);
  let suggestion = base;
  for (let n = 2; taken.has(suggestion.toLowerCase()); n++) suggestion = `${base}-${n}`;
  const answer = await askText(single(TITLE), {
    prompt: 'A name for the credential. The file will say ${culvert:name}.',
    value: suggestion,
    validate: (value) =>
      !REFERENCE_NAME.test(value)
        ? 'Use letters, digits, dots, underscores and hyphens.'
        : taken.has(value.toLowerCase())
          ? 'Another credential has this name.'
          : undefined,
  });
  return answer.kind === 'value' ? answer.value : undefined;
}

/** Remembers in settings that a value is no secret, by its hash. */
export async function rememberNotSecret(texts: OpenTexts, address: SecretAddress): Promise<void> {
  const found = await secretAt(texts, address);
  if (!found) return;
  const configuration = vscode.workspace.getConfiguration();
  const old = configuration.get<readonly string[]>(SETTINGS.notSecrets, []);
  const next = [...new Set([...old, found.secret.hash])];
  await configuration.update(SETTINGS.notSecrets, next, vscode.ConfigurationTarget.Global);
}

/** Says so in a comment above the value, by its hash: another value in its place is marked again. */
export async function commentNotSecret(texts: OpenTexts, address: SecretAddress): Promise<void> {
  const found = await secretAt(texts, address);
  if (!found) return;
  const { document, secret } = found;
  const line = document.lineAt(document.positionAt(secret.span.offset).line);
  const indent = line.text.slice(0, line.firstNonWhitespaceCharacterIndex);
  const lead = document.languageId === 'jsonc' ? '//' : '#';
  const eol = document.eol === vscode.EndOfLine.CRLF ? '\r\n' : '\n';
  const edit = new vscode.WorkspaceEdit();
  edit.insert(document.uri, line.range.start, `${indent}${lead} ${notSecretComment(secret.hash)}${eol}`);
  await vscode.workspace.applyEdit(edit);
}
