import * as vscode from 'vscode';
import type { Activity } from '../../audit/activities.ts';
import type { Ruling } from '../../authorization/decide.ts';
import { WORKSPACE_POLICY_PATH } from '../../authorization/policy/jsonPolicy.ts';
import { toDisposable, type Disposable } from '../../common/disposable.ts';
import type { App } from '../app.ts';
import { withBranch } from '../branchWatch.ts';
import { denialText, isDenied, type Remedy } from '../denialText.ts';
import { setContext } from '../adapters.ts';
import { COMMANDS, CONTEXT, VIEWS } from '../names.ts';
import { recordedCall, wholeArguments } from '../recordedCalls.ts';
import { nextTurn, readerOf } from '../recordReading.ts';
import { allowTool } from './allowTool.ts';

/** Calls that are read at once, and at most, when a denial is looked for. */
const SLICE = 100;
const MAX_READ = 20_000;
/** Entries that are looked through to tell whether there is anything to explain. */
const RECENT = 300;
/** How soon after a call that is told, milliseconds. */
const SOON_MS = 500;

const BUTTONS: Readonly<Record<Remedy, string>> = {
  resume: 'Resume Agent Access',
  allow: 'Allow Tool for…',
  edit: 'Edit Grant…',
  revoke: 'Revoke the Denial',
  'ask-again': 'Let It Ask Again',
  policy: 'Open Policy',
  leaks: 'Show Leak Warnings',
  record: 'Show Record',
};

/** The last call that was denied, looked for in slices so that the editor stays responsive. */
async function lastDenial({ core }: App): Promise<Activity | undefined> {
  let before: number | undefined;
  for (let read = 0; read < MAX_READ; read += SLICE) {
    const slice = core.audit.activities({ limit: SLICE, ...(before === undefined ? {} : { before }) });
    const found = slice.find(isDenied);
    if (found || slice.length < SLICE) return found;
    before = slice.at(-1)?.seq;
    await nextTurn();
  }
  return undefined;
}

/** Tells the palette whether there are calls on the record, and a denial to explain. */
export function watchRecord({ core: { audit } }: App): Disposable {
  let denied = false;
  let called = false;
  let timer: NodeJS.Timeout | undefined;
  const look = () => {
    timer = undefined;
    called ||= audit.activities({ limit: 1, named: true, lookBack: RECENT }).length > 0;
    denied ||= audit.activities({ limit: 1, lookBack: RECENT, meant: isDenied }).length > 0;
    setContext(CONTEXT.hasCalls, called);
    setContext(CONTEXT.hasDenial, denied);
    if (called && denied) subscription.dispose();
  };
  const subscription = audit.onDidAppend(() => (timer ??= setTimeout(look, SOON_MS)));
  timer = setTimeout(look, SOON_MS);
  return toDisposable(() => {
    clearTimeout(timer);
    subscription.dispose();
  });
}

/** **Culvert: Explain Last Denial** Which rule, why, what would allow it, with buttons that do that. */
export async function explainLastDenial(app: App, showRecord: (exchange: string) => Promise<void>): Promise<void> {
  const denial = await lastDenial(app);
  if (!denial) {
    void vscode.window.showInformationMessage('Nothing on the record was denied.');
    return;
  }
  const call = recordedCall(denial, readerOf(app));
  const now = call && app.core.access.decide(withBranch(call.principal, app.caller), call.call);
  const { title, lines, remedies } = denialText(denial, now);
  const offered = remedies.filter((r) => r !== 'policy' || policyFile() !== undefined);
  const choice = await vscode.window.showInformationMessage(
    title,
    { modal: true, detail: lines.join('\n\n') },
    ...offered.map((r) => BUTTONS[r]),
  );
  const remedy = offered.find((r) => BUTTONS[r] === choice);
  if (remedy) await apply(app, remedy, denial, now, showRecord);
}

async function apply(
  app: App,
  remedy: Remedy,
  { exchange, intent }: Activity,
  now: Ruling | undefined,
  showRecord: (exchange: string) => Promise<void>,
): Promise<void> {
  const { core } = app;
  const server = core.servers.get(intent.server);
  const grant = now?.by.kind === 'grant' ? now.by.grant : undefined;
  switch (remedy) {
    case 'resume':
      core.setPaused(false);
      return;
    case 'allow':
      if (server && intent.tool !== undefined) await allowTool(app, { server, tool: intent.tool, argumentsText: wholeArguments(intent) });
      return;
    case 'edit':
      if (grant !== undefined) await vscode.commands.executeCommand(COMMANDS.editGrant, grant);
      return;
    case 'revoke':
      if (grant !== undefined) core.access.revoke([grant]);
      return;
    case 'ask-again':
      core.approvals.forgetRefusals();
      void vscode.window.showInformationMessage('What you said no to may be asked again.');
      return;
    case 'policy': {
      const file = policyFile();
      if (file) await vscode.window.showTextDocument(file);
      return;
    }
    case 'leaks':
      await vscode.commands.executeCommand(`${VIEWS.leaks}.focus`);
      return;
    case 'record':
      await showRecord(exchange);
  }
}

/** The workspace's policy file. */
function policyFile(): vscode.Uri | undefined {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  return folder && vscode.Uri.joinPath(folder, WORKSPACE_POLICY_PATH);
}
