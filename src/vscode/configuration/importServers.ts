import * as vscode from 'vscode';
import { relative } from 'node:path';
import { newId } from '../../common/identifiers.ts';
import { visible } from '../../common/text.ts';
import type { CredentialRules } from '../../configuration/credentials.ts';
import { isProblem } from '../../configuration/document.ts';
import { readInputs } from '../../configuration/entry.ts';
import { isTracked, systemGit } from '../../configuration/exposure.ts';
import { fileName, openTextFile } from '../../configuration/files.ts';
import { runImport, type ImportUndo } from '../../configuration/importer.ts';
import { nodeFiles } from '../../configuration/nodeFiles.ts';
import { planImport, type ImportPlan, type Pick, type TextStep } from '../../configuration/plan.ts';
import { REFERENCE_NAME } from '../../configuration/references.ts';
import { scan, type FoundServer, type ScanResult } from '../../configuration/scan.ts';
import { applyEdits } from '../../configuration/textEdit.ts';
import { WORKSPACE_FILE, putWorkspaceServer, workspaceServer } from '../../configuration/workspaceFile.ts';
import { commandDigest, type CommandPlace } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { askChoice, askText, single } from '../steps.ts';
import { askStart } from '../commands/startingAccess.ts';
import type { Here } from './here.ts';
import { explainRest, pickServers } from './importPicks.ts';
import { AppPorts, saveOpenEditors } from './importPorts.ts';
import type { Reviews } from './reviews.ts';
import type { SecretRules } from './secretRules.ts';

const TITLE = 'Culvert: Import';
/** Commands that one question shows whole; more of them are asked about in turn. */
const COMMANDS_PER_QUESTION = 4;

/** What an import needs beside the app. */
export interface ImportContext {
  readonly here: Here;
  readonly reviews: Reviews;
  rules(): Promise<SecretRules>;
  showText(title: string, text: string): Promise<void>;
}

/** An import that was carried out. */
export interface Imported {
  readonly plan: ImportPlan;
  readonly undo: ImportUndo;
  readonly ports: AppPorts;
  readonly picked: readonly FoundServer[];
}

const keyOf = ({ entry }: FoundServer): string => JSON.stringify([entry.file, entry.client, entry.path]);

/** Everything this machine and workspace have, read now. */
export async function scanHere(here: Here, rules: CredentialRules): Promise<ScanResult> {
  return scan(nodeFiles, await here.locations(), here.contextOf, rules);
}

/**
 * Finds servers, asks, and imports. `only` picks without asking. Resolves to what was done; `undefined` if nothing was, which has been
 * said then.
 */
export async function importServers(
  app: App,
  context: ImportContext,
  only?: (server: FoundServer) => boolean,
): Promise<Imported | undefined> {
  const { here } = context;
  const { looksSecret } = await context.rules();
  const look = async () =>
    vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title: 'Culvert: looking for MCP servers…' }, () =>
      scanHere(here, { looksSecret }),
    );
  let result = await look();
  const showRest = () => void context.showText('Not imported', `${explainRest(result).join('\n\n')}\n`);
  if (result.servers.length === 0 && result.problems.length === 0) {
    void vscode.window.showInformationMessage(
      'No MCP server was found in the configurations of this machine and workspace. Add one with “Culvert: Add Server…”.',
    );
    return undefined;
  }
  let picked = only ? result.servers.filter(only) : await pickServers(result, TITLE, showRest);
  if (only && picked?.length === 0)
    void vscode.window.showInformationMessage(
      'No MCP server that Culvert could route was found there. It may have been changed meanwhile.',
    );
  if (!picked || picked.length === 0) return undefined;
  const keys = new Set(picked.map(keyOf));
  const paths = () => (picked ?? []).flatMap(({ file }) => [file.location.path, file.facts.target]);
  if (!(await saveOpenEditors(paths()))) return undefined;
  // What was saved, or changed while the user thought, counts.
  result = await look();
  picked = result.servers.filter((server) => keys.has(keyOf(server)));

  const inputs = await askInputs(picked);
  if (!inputs) return undefined;
  const picks = picked.map((server): Pick => ({ server, context: { ...here.contextOf(server.file.location), inputs } }));
  here.layBridge();
  let plan = planImport({
    picks,
    taken: {
      labels: app.core.servers.list().map(({ label }) => label),
      credentials: app.core.credentials.list().map(({ name }) => name),
    },
    newServerId: () => newId('srv'),
    bridge: (id) => here.bridge(id),
    looksSecret,
  });
  if (!(await acceptRefusals(plan, picked.length, showRefusals(context, plan)))) return undefined;

  const commands = await confirmCommands(plan);
  if (!commands) return undefined;
  plan = {
    ...plan,
    registers: plan.registers.map((step) =>
      step.place.kind === 'stdio' && commands.has(step.serverId)
        ? { ...step, place: { ...step.place, confirmed: commandDigest(step.place) } }
        : step,
    ),
  };
  const texts = await shareByReference(picked, plan);
  if (!texts) return undefined;
  plan = { ...plan, texts };
  const access = await askStart(TITLE, undefined);
  if (!access) return undefined;

  const ports = new AppPorts(app, TITLE, access);
  const review = context.reviews.session(TITLE);
  const outcome = await runImport(plan, {
    files: ports.files,
    seal: (step) => ports.seal(step),
    unseal: (id) => ports.unseal(id),
    register: ports.register,
    unregister: ports.unregister,
    review: async (edit) => (await review(edit)) && saveOpenEditors([edit.path, edit.target]),
  });
  if (outcome.kind === 'done') {
    await here.bridgeWasWritten();
    return { plan, undo: outcome.undo, ports, picked };
  }
  const behind = outcome.leftBehind.join(' ');
  for (const sentence of outcome.leftBehind) app.logger.error(sentence);
  if (outcome.kind === 'failed') {
    app.logger.warn(`An import failed: ${outcome.reason}`);
    void vscode.window.showErrorMessage(
      `Nothing was imported. ${outcome.reason} ${behind === '' ? 'Every file and secret is as it was.' : behind}`,
    );
  } else
    void vscode.window.showInformationMessage(`Nothing was imported. ${behind === '' ? 'Every file and secret is as it was.' : behind}`);
  return undefined;
}

/** Values of `${input:…}` that are no secrets. Secrets are asked for when they are sealed. */
async function askInputs(picked: readonly FoundServer[]): Promise<Record<string, string> | undefined> {
  const values: Record<string, string> = {};
  for (const { entry, credentials, file } of picked) {
    const inputs = readInputs(file.document, file.location);
    for (const { reference } of entry.references) {
      if (reference.kind !== 'input' || reference.name in values) continue;
      if (credentials.some((c) => c.reference?.kind === 'input' && c.reference.name === reference.name)) continue;
      const description = inputs.find(({ id }) => id === reference.name)?.description;
      const answer = await askText(single(`${TITLE}: ${visible(entry.name, 40)}`), {
        prompt: `The value for \${input:${visible(reference.name, 40)}}${description === undefined ? '' : ` (${visible(description, 120)})`}. It is no secret and is stored with the server.`,
        validate: () => undefined,
      });
      if (answer.kind !== 'value') return undefined;
      values[reference.name] = answer.value;
    }
  }
  return values;
}

function showRefusals(context: ImportContext, { refused }: ImportPlan): () => Promise<void> {
  return () => context.showText('Not imported', `${refused.map(({ what, reason }) => `${what}\n    ${reason}`).join('\n\n')}\n`);
}

async function acceptRefusals(plan: ImportPlan, picked: number, show: () => Promise<void>): Promise<boolean> {
  const { refused } = plan;
  if (refused.length === 0) return true;
  if (refused.length >= picked || plan.registers.length === 0) {
    const [first] = refused;
    const choice = await vscode.window.showWarningMessage(
      `Nothing can be imported. ${first?.what ?? ''}: ${first?.reason ?? ''}`,
      ...(refused.length > 1 ? ['Show All'] : []),
    );
    if (choice === 'Show All') await show();
    return false;
  }
  const choice = await vscode.window.showWarningMessage(
    `${refused.length} of ${picked} servers can’t be imported.`,
    { modal: true, detail: refused.map(({ what, reason }) => `${what}: ${reason}`).join('\n\n') },
    'Import the Others',
  );
  return choice === 'Import the Others';
}

/** Asks once about all commands, each shown whole. Resolves to the ids of the servers whose command may start; `undefined`: given up. */
async function confirmCommands(plan: ImportPlan): Promise<ReadonlySet<string> | undefined> {
  const confirmed = new Set<string>();
  const commands = plan.registers.flatMap((step) => (step.place.kind === 'stdio' ? [{ ...step, place: step.place }] : []));
  for (let at = 0; at < commands.length; at += COMMANDS_PER_QUESTION) {
    const some = commands.slice(at, at + COMMANDS_PER_QUESTION);
    const variables = (id: readonly string[]) =>
      plan.seals.flatMap((seal) => (id.includes(seal.id) && seal.placement.kind === 'environment' ? [seal.placement.name] : []));
    const choice = await vscode.window.showWarningMessage(
      some.length === 1 ? 'May Culvert start this command?' : `May Culvert start these ${some.length} commands?`,
      {
        modal: true,
        detail: `${some.map(({ label, place, seals }) => describeCommandWhole(label, place, variables(seals))).join('\n\n')}\n\nThey run with your rights whenever an agent uses the server, as they did so far in their clients. Start only what you trust.`,
      },
      'Start When Needed',
      'Not Yet',
    );
    if (choice === undefined) return undefined;
    if (choice === 'Start When Needed') for (const { serverId } of some) confirmed.add(serverId);
  }
  return confirmed;
}

/** A command whole, with the names of the variables that hold a secret. */
export function describeCommandWhole(label: string, place: CommandPlace, secrets: readonly string[]): string {
  return [
    `${visible(label, 60)}: ${visible(place.command)}`,
    ...place.args.map((arg, i) => `  argument ${i + 1}: ${visible(arg)}`),
    ...(place.folder === undefined ? [] : [`  folder: ${visible(place.folder)}`]),
    ...Object.entries(place.environment ?? {}).map(([name, value]) => `  variable ${name}: ${visible(value)}`),
    ...secrets.map((name) => `  variable ${name}: the sealed secret`),
  ].join('\n');
}

/**
 * A file of a repository is shared: others would lose the server with its entry. Its place and the names of its credentials go into
 * `.vscode/culvert.json`, and everybody seals an own value. `undefined`: given up.
 */
async function shareByReference(picked: readonly FoundServer[], plan: ImportPlan): Promise<readonly TextStep[] | undefined> {
  const steps: TextStep[] = [];
  for (const { uri } of vscode.workspace.workspaceFolders ?? []) {
    const folder = uri.fsPath;
    const shared = await sharedServers(picked, plan, folder);
    if (shared.length === 0) continue;
    const answer = await askChoice<boolean>(
      {
        ...single(TITLE),
        prompt: `${[...new Set(shared.map(({ from }) => from))].join(', ')} is in version control, so others use ${shared.length === 1 ? 'the server' : 'the servers'} too.`,
      },
      `Name ${shared.length === 1 ? 'the server' : 'the servers'} in ${WORKSPACE_FILE} for the others?`,
      [
        { label: '$(file-symlink-file) Yes', description: 'places and names only, no value; everybody seals an own one', value: true },
        { label: '$(circle-slash) No', description: 'only this machine keeps the server', value: false },
      ],
    );
    if (answer.kind !== 'value') return undefined;
    if (!answer.value) continue;
    const file = await openTextFile(nodeFiles, vscode.Uri.joinPath(uri, WORKSPACE_FILE).fsPath);
    if (isProblem(file)) throw new Error(file.message);
    let text = file.text;
    for (const { label, server } of shared) text = applyEdits(text, putWorkspaceServer(text, label, server));
    steps.push({ file, text, notices: ['It holds no value, and it is asked about before it counts on another machine.'] });
  }
  return steps;
}

async function sharedServers(picked: readonly FoundServer[], plan: ImportPlan, folder: string) {
  const shared = new Set<string>();
  for (const { entry, file } of picked) {
    if (entry.scope !== 'workspace' || relative(folder, entry.file).startsWith('..') || !vscode.workspace.isTrusted) continue;
    if (await isTracked(file.location.path, systemGit)) shared.add(file.facts.target);
  }
  return plan.registers
    .filter(({ files }) => files.some((path) => shared.has(path)))
    .map(({ label, place, seals, files }) => {
      const wanted = plan.seals.filter(({ id, name }) => seals.includes(id) && REFERENCE_NAME.test(name));
      const named = wanted.map(({ name, placement }) => ({ name, placement }));
      return {
        label,
        server: workspaceServer(place, named, folder, relative),
        from: fileName(files.find((path) => shared.has(path)) ?? ''),
      };
    });
}
