import * as vscode from 'vscode';
import { destinationOf, isEncrypted, isLoopback, secretsOf, type ExportDefinition } from '../../audit/export/definition.ts';
import type { ExportState } from '../../audit/export/exports.ts';
import { visible } from '../../common/text.ts';
import { Secret } from '../../credentials/secret.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import type { App } from '../app.ts';
import { SETTINGS } from '../names.ts';
import { askChoice, askText, single } from '../steps.ts';
import { count, utc } from './progress.ts';

/** How long a receiver may be away before the user is told, milliseconds. */
const PATIENCE_MS = 2 * 60_000;
/** How often that is looked at, milliseconds. */
const LOOK_MS = 30_000;

const KINDS: Readonly<Record<ExportDefinition['kind'], string>> = {
  otlp: 'OTLP logs and traces',
  syslog: 'CEF in syslog',
  webhook: 'webhook',
  'ocsf-webhook': 'OCSF webhook',
};

/** **Culvert: Start Streaming Export…** Shows whole what will go where, and starts it when the user says so. */
export async function startExport(app: App): Promise<void> {
  const { exports } = app.core;
  const title = 'Culvert: Start Streaming Export';
  const states = exports.states();
  if (states.length === 0) {
    const choice = await vscode.window.showInformationMessage(
      `No streaming export is defined. Describe one in the setting ${SETTINGS.auditExports}, then start it.`,
      'Open Settings',
    );
    if (choice === 'Open Settings') await openSetting();
    return;
  }
  const picked = await askChoice(
    single(title),
    'Which one?',
    states.map((state) => ({ label: state.name, description: describeExport(state), value: state })),
  );
  if (picked.kind !== 'value') return;
  const { name, state, problem } = picked.value;
  const definition = exports.definition(name);
  if (!definition) {
    const choice = await vscode.window.showErrorMessage(
      `${name} can’t be used: ${problem ?? 'the setting changed'}. Correct it in the setting ${SETTINGS.auditExports}.`,
      'Open Settings',
    );
    if (choice === 'Open Settings') await openSetting();
    return;
  }
  if (state !== 'off' && state !== 'changed') {
    void vscode.window.showInformationMessage(`${name} runs already.`);
    return;
  }
  const from = await askChoice(single(title), 'What shall it deliver?', [
    ...(exports.hasCursor(name) ? [{ label: 'Go on where it stopped', value: 'resume' as const }] : []),
    { label: 'What happens from now on', value: 'now' as const },
    { label: 'Everything on record, then what happens', value: 'start' as const },
  ]);
  if (from.kind !== 'value') return;
  const confirmed = await vscode.window.showWarningMessage(
    `Send the audit history to ${destinationOf(definition)}?`,
    { modal: true, detail: detailOf(definition) },
    'Start',
  );
  if (confirmed !== 'Start') return;
  // What was shown is what is started.
  if (exports.definition(name) !== definition) {
    void vscode.window.showWarningMessage(`The setting of ${name} changed meanwhile, so it was not started. Start it again.`);
    return;
  }
  exports.start(name, from.value);
  void vscode.window.showInformationMessage(`${name} runs. What it can’t deliver is kept and comes later.`);
}

function detailOf(definition: ExportDefinition): string {
  const { kind, url, ca, headers, secret } = definition;
  const { hostname } = new URL(url);
  return [
    `${KINDS[kind]} to ${visible(url, 300)}`,
    ...(isEncrypted(definition) || isLoopback(hostname) ? [] : ['Not encrypted: whoever is on the way can read it.']),
    ...(ca === undefined ? [] : [`Trusts the certificates in ${visible(ca, 200)} only`]),
    ...Object.entries(headers ?? {}).map(([header, of]) => `Header ${header}: the export secret ${of}`),
    ...(secret === undefined ? [] : [`Signed under the export secret ${secret}`]),
    '',
    'Who called what, when and with which arguments leaves this machine; secrets are redacted. If the setting changes, it stops until you start it again.',
  ].join('\n');
}

/** **Culvert: Stop Streaming Export…** */
export async function stopExport(app: App): Promise<void> {
  const { exports } = app.core;
  const running = exports.states().filter(({ state }) => state !== 'off' && state !== 'invalid');
  if (running.length === 0) {
    void vscode.window.showInformationMessage('No streaming export runs.');
    return;
  }
  const picked = await askChoice(
    single('Culvert: Stop Streaming Export'),
    'Which one?',
    running.map((state) => ({ label: state.name, description: describeExport(state), value: state.name })),
  );
  if (picked.kind !== 'value') return;
  await exports.stop(picked.value);
  void vscode.window.showInformationMessage(`${picked.value} was stopped.`);
}

/** **Culvert: Set Export Secret…** A header’s value or the key of signatures; it lies in the keyring. */
export async function setExportSecret(app: App): Promise<void> {
  const title = 'Culvert: Set Export Secret';
  const { core } = app;
  const uses = new Map<string, string[]>();
  for (const { name } of core.exports.states()) {
    const definition = core.exports.definition(name);
    for (const secret of definition ? secretsOf(definition) : []) uses.set(secret, [...(uses.get(secret) ?? []), name]);
  }
  if (uses.size === 0) {
    void vscode.window.showInformationMessage(
      `No streaming export in the setting ${SETTINGS.auditExports} names a secret. Name one there, as “secret” or behind a header, then enter its value here.`,
    );
    return;
  }
  const picked = await askChoice(
    single(title),
    'Which secret?',
    [...uses].map(([secret, of]) => ({ label: secret, description: `for ${of.join(', ')}`, value: secret })),
  );
  if (picked.kind !== 'value') return;
  const entered = await askText(single(title), {
    prompt: `The value of ${picked.value}. It lies in the system’s keyring and goes with ${(uses.get(picked.value) ?? []).join(', ')} only.`,
    placeholder: 'paste it here',
    password: true,
    validate: (value) =>
      value.length < MIN_SECRET_CHARACTERS
        ? `It has fewer than ${MIN_SECRET_CHARACTERS} characters.`
        : value.length > MAX_SECRET_CHARACTERS
          ? 'It is too long.'
          : /[\r\n\0]/.test(value)
            ? 'It holds a line break.'
            : undefined,
  });
  if (entered.kind !== 'value') return;
  await core.record.setExportSecret(picked.value, new Secret(entered.value));
  void vscode.window.showInformationMessage(`${picked.value} is in the keyring.`);
}

/** How an export stands, in a few words. */
export function describeExport({ state, destination, behind, behindSince, problem, sent }: ExportState): string {
  switch (state) {
    case 'invalid':
      return `can’t be used: ${problem ?? ''}`;
    case 'off':
      return `${destination} · not started`;
    case 'changed':
      return `${destination} · its setting changed; start it again`;
    case 'waiting':
      return `${destination} · behind${behindSince === undefined ? '' : ` since ${utc(behindSince)}`}: ${problem ?? 'it can’t be reached'}`;
    case 'elsewhere':
      return problem === undefined
        ? `${destination} · another window delivers`
        : `${destination} · behind${behindSince === undefined ? '' : ` since ${utc(behindSince)}`}: ${problem}`;
    default:
      return `${destination} · ${count(sent)} delivered${behind > 0 ? `, ${count(behind)} entries to go` : ''}`;
  }
}

/** What to say of exports that don't deliver, for a view; empty if all is well. */
export function exportsBehind(states: readonly ExportState[]): string {
  return states
    .flatMap(({ name, state, behindSince, problem }) => {
      if (state === 'changed') return [`The streaming export ${name} stopped: its setting changed.`];
      if (state === 'invalid') return [`The streaming export ${name} can’t be used: ${problem ?? ''}.`];
      return behindSince === undefined ? [] : [`The streaming export ${name} is behind since ${utc(behindSince)}: ${problem ?? ''}`];
    })
    .join(' ');
}

/** Tells the user about exports that are behind, stopped because their setting changed, or can’t be used; each once for each time. */
export function watchExports(app: App): vscode.Disposable {
  const { exports } = app.core;
  const told = new Set<string>();
  const look = () => {
    const now = Date.now();
    for (const { name, state, behindSince, problem } of exports.states()) {
      const say = (key: string, text: string, choice: 'Start…' | 'Open Settings' | undefined) => {
        if (told.has(`${key} ${name}`)) return;
        told.add(`${key} ${name}`);
        app.logger.warn(text);
        void vscode.window.showWarningMessage(text, ...(choice === undefined ? [] : [choice])).then((chosen) => {
          if (chosen === 'Start…') void startExport(app);
          if (chosen === 'Open Settings') void openSetting();
        });
      };
      if (state === 'waiting' && behindSince !== undefined && now - behindSince > PATIENCE_MS)
        say(
          'behind',
          `The streaming export ${name} is behind since ${utc(behindSince)}: ${problem ?? ''} It goes on by itself.`,
          undefined,
        );
      else if (state === 'idle' || state === 'sending') told.delete(`behind ${name}`);
      if (state === 'changed')
        say(
          'changed',
          `The setting of the streaming export ${name} is not what you started, so it stopped. Look at it, then start it again.`,
          'Start…',
        );
      else told.delete(`changed ${name}`);
      if (state === 'invalid') say('invalid', `The streaming export ${name} can’t be used: ${problem ?? ''}.`, 'Open Settings');
      else told.delete(`invalid ${name}`);
    }
  };
  const subscription = exports.onDidChange(look);
  const timer = setInterval(look, LOOK_MS);
  return vscode.Disposable.from(subscription, { dispose: () => clearInterval(timer) });
}

async function openSetting(): Promise<void> {
  await vscode.commands.executeCommand('workbench.action.openSettings', SETTINGS.auditExports);
}
