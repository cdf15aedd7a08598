import * as vscode from 'vscode';
import { SHORT_GRANT_MS } from '../../authorization/answeredGrant.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import type { Credential } from '../../credentials/credential.ts';
import type { App } from '../app.ts';
import { auditCommands } from '../audit/commands.ts';
import { COMMANDS, VIEWS, type CommandId } from '../names.ts';
import type { GrantDocuments } from '../grantDocuments.ts';
import type { RecordDocuments } from '../recordDocument.ts';
import type { ActivityRow } from '../views/activityRows.ts';
import type { ActivityView } from '../views/activityView.ts';
import type { GrantRow } from '../views/grantsModel.ts';
import type { GrantsView } from '../views/grantsView.ts';
import type { FindingRow, LeakRow } from '../views/leakRows.ts';
import { filterActivity } from './activity.ts';
import { findTool, revoke, revokeRow, setRow, toggleToolAccess } from './access.ts';
import { plantCanary, removeCanary } from './canaries.ts';
import { allowTool, allowedBy } from './allowTool.ts';
import { editGrant } from './editGrant.ts';
import { explainLastDenial } from './explain.ts';
import { rehearsePolicy } from './rehearse.ts';
import { reviewAccess } from './review.ts';
import { addCredentialTo, forgetCredential, replaceCredential, testCredential } from './credentials.ts';
import { handSecrets } from './handoversDialog.ts';
import { importHandlers } from './importServers.ts';
import {
  dismissFinding,
  explainFindingInFull,
  notASecret,
  openFinding,
  restoreFinding,
  reviewLeakDecisions,
  revokeFindingAccess,
  rotateCredential,
} from './leaks.ts';
import { callOf, copyRedacted, openRecordTarget, replayCall, revokeCallAccess, type RecordedExchange, type Reveal } from './record.ts';
import { applyPreset, setServerAccess, type Preset } from './presets.ts';
import { addServer } from './addServer.ts';
import { editServer } from './editServer.ts';
import { removeServer } from './removeServer.ts';
import { endTask, startTask } from './tasks.ts';
import { signInCommand } from '../signInCommands.ts';
import { switchAccount } from '../signInAccounts.ts';

/** What commands need beside the app. */
export interface CommandContext {
  /** The app, once everything is open. */
  readonly app: () => App | undefined;
  readonly activity: () => ActivityView | undefined;
  readonly grants: () => GrantsView | undefined;
  readonly grantDocuments: () => GrantDocuments | undefined;
  readonly documents: RecordDocuments;
  readonly reveal: Reveal;
  readonly log: vscode.LogOutputChannel;
  readonly logger: Logger;
  /** Culvert’s version. */
  readonly version: string;
  /** Tries to open everything again. */
  readonly retry: () => Promise<void>;
  readonly setDatabaseAside: () => Promise<void>;
}

/** Registers every command of the extension. */
export function registerCommands(context: CommandContext): vscode.Disposable {
  const { documents, log } = context;
  const withApp =
    <A extends readonly unknown[]>(run: (app: App, ...args: A) => unknown) =>
    async (...args: A): Promise<void> => {
      const app = context.app();
      if (app) await run(app, ...args);
      else void vscode.window.showWarningMessage('Culvert is not running in this window. The Culvert view says why.');
    };
  const withCall = (run: (app: App, call: RecordedExchange) => unknown) =>
    withApp(async (app, argument?: unknown) => {
      const call = await callOf(app, documents, argument);
      if (call) await run(app, call);
    });
  // As it is now: the row may have been drawn before the server was changed.
  const serverOf = (app: App, row: unknown) => (isRow(row) ? app.core.servers.get(row.server) : undefined);

  const preset = (app: App, row: unknown, wanted: Preset) => {
    const server = serverOf(app, row);
    return server && applyPreset(app, server, wanted);
  };

  const handlers: Record<CommandId, (...args: never[]) => unknown> = {
    [COMMANDS.addServer]: withApp((app) => addServer(app)),
    [COMMANDS.editServer]: withApp((app, row?: unknown) => editServer(app, serverOf(app, row))),
    [COMMANDS.removeServer]: withApp((app, row?: unknown) => removeServer(app, serverOf(app, row))),
    [COMMANDS.importServers]: withApp(importHandlers[COMMANDS.importServers]),
    [COMMANDS.undoImport]: withApp(importHandlers[COMMANDS.undoImport]),
    [COMMANDS.sealMissing]: withApp(importHandlers[COMMANDS.sealMissing]),
    [COMMANDS.reviewDrift]: withApp(importHandlers[COMMANDS.reviewDrift]),
    [COMMANDS.routeEntry]: withApp(importHandlers[COMMANDS.routeEntry]),
    [COMMANDS.secretRoute]: withApp(importHandlers[COMMANDS.secretRoute]),
    [COMMANDS.secretReference]: withApp(importHandlers[COMMANDS.secretReference]),
    [COMMANDS.secretIgnore]: withApp(importHandlers[COMMANDS.secretIgnore]),
    [COMMANDS.secretComment]: withApp(importHandlers[COMMANDS.secretComment]),
    [COMMANDS.toggleToolAccess]: withApp((app) => toggleToolAccess(app)),
    [COMMANDS.allowTool]: withApp((app, row?: unknown) => allowTool(app, isRow(row) ? allowedBy(app, row) : undefined)),
    [COMMANDS.revoke]: withApp((app) => revoke(app)),
    [COMMANDS.setServerAccess]: withApp((app) => setServerAccess(app, undefined)),
    [COMMANDS.findTool]: withApp((app) => findTool(app, async (server, tool) => context.grants()?.reveal(server, tool))),
    [COMMANDS.startTask]: withApp((app) => startTask(app)),
    [COMMANDS.endTask]: withApp((app) => endTask(app)),
    [COMMANDS.editGrant]: withApp((app, given?: unknown) => editGrant(app, context.grantDocuments(), grantIdOf(given))),
    [COMMANDS.explainLastDenial]: withApp((app) => explainLastDenial(app, (exchange) => documents.showRecord(exchange))),
    [COMMANDS.rehearsePolicy]: withApp((app) => rehearsePolicy(app, context.grantDocuments(), documents)),
    [COMMANDS.reviewAccess]: withApp((app) => reviewAccess(app)),
    [COMMANDS.pause]: withApp((app) => app.core.setPaused(true)),
    [COMMANDS.resume]: withApp((app) => app.core.setPaused(false)),
    [COMMANDS.answerWaiting]: withApp((app) => app.prompt.showWaiting()),
    [COMMANDS.signIn]: withApp((app, credential?: Credential) => signInCommand(app, credential)),
    [COMMANDS.switchAccount]: withApp((app, row?: unknown) => switchAccount(app, serverOf(app, row))),
    [COMMANDS.addCredential]: withApp((app) => addCredentialTo(app)),
    [COMMANDS.replaceCredential]: withApp((app, credential?: Credential) => replaceCredential(app, credential)),
    [COMMANDS.testCredential]: withApp((app, credential?: Credential) => testCredential(app, credential)),
    [COMMANDS.handSecrets]: withApp((app) => handSecrets(app)),
    [COMMANDS.forgetCredential]: withApp((app, credential?: Credential) => forgetCredential(app, credential)),
    ...auditCommands(context, withApp),
    [COMMANDS.reviewChanges]: withApp((app) => reviewChanges(app)),
    [COMMANDS.showLog]: () => log.show(),
    [COMMANDS.retry]: () => context.retry(),
    [COMMANDS.setDatabaseAside]: () => context.setDatabaseAside(),
    [COMMANDS.toolAllow]: withApp((app, row?: GrantRow) => setRow(app, row, 'allow')),
    [COMMANDS.toolAllowShort]: withApp((app, row?: GrantRow) => setRow(app, row, 'allow', SHORT_GRANT_MS)),
    [COMMANDS.toolAsk]: withApp((app, row?: GrantRow) => setRow(app, row, 'ask')),
    [COMMANDS.toolDeny]: withApp((app, row?: GrantRow) => setRow(app, row, 'deny')),
    [COMMANDS.serverNothing]: withApp((app, row?: unknown) => preset(app, row, 'nothing')),
    [COMMANDS.serverReading]: withApp((app, row?: unknown) => preset(app, row, 'reading')),
    [COMMANDS.serverAsk]: withApp((app, row?: unknown) => preset(app, row, 'ask')),
    [COMMANDS.serverTask]: withApp((app, row?: unknown) => preset(app, row, 'task')),
    [COMMANDS.toggleRow]: () => context.grants()?.toggleFocused(),
    [COMMANDS.grantRevoke]: withApp((app, row?: GrantRow) => revokeRow(app, row)),
    [COMMANDS.showRecord]: withApp((_app, row?: { readonly exchange?: unknown } | FindingRow) => {
      const exchange = row === undefined ? undefined : 'finding' in row ? row.finding.exchange : row.exchange;
      return typeof exchange === 'string' ? documents.showRecord(exchange) : undefined;
    }),
    [COMMANDS.loadMore]: (row?: ActivityRow) => (row?.kind === 'more' ? context.activity()?.more(row) : undefined),
    [COMMANDS.replayCall]: withCall((app, { intent }) => replayCall(app, documents, intent)),
    [COMMANDS.revokeCallAccess]: withCall((app, { intent }) => revokeCallAccess(app, intent)),
    [COMMANDS.copyRedacted]: withCall((_app, { exchange }) => copyRedacted(documents, exchange)),
    [COMMANDS.openRecordTarget]: withApp((app, target?: unknown) => openRecordTarget(app, documents, context.reveal, target)),
    [COMMANDS.showPanel]: () => vscode.commands.executeCommand(`${VIEWS.panel}.focus`),
    [COMMANDS.filterActivity]: withApp((app) => filterActivity(app, context.activity())),
    [COMMANDS.clearActivityFilter]: withApp(() => context.activity()?.setFilter({})),
    [COMMANDS.dismissFinding]: withApp((app, row?: LeakRow) => dismissFinding(app, row)),
    [COMMANDS.restoreFinding]: withApp((app, row?: LeakRow) => restoreFinding(app, row)),
    [COMMANDS.openFinding]: withApp((app, row?: FindingRow) => openFinding(app, documents, row)),
    [COMMANDS.explainFinding]: withApp((app, row?: LeakRow) => explainFindingInFull(app, documents, row)),
    [COMMANDS.notASecret]: withApp((app, row?: LeakRow) => notASecret(app, row)),
    [COMMANDS.rotateCredential]: withApp((app, row?: LeakRow) => rotateCredential(app, row)),
    [COMMANDS.revokeFindingAccess]: withApp((app, row?: LeakRow) => revokeFindingAccess(app, row)),
    [COMMANDS.markLeaksRead]: withApp((app) => app.core.findings.markRead()),
    [COMMANDS.reviewLeakDecisions]: withApp((app) => reviewLeakDecisions(app)),
    [COMMANDS.plantCanary]: withApp((app) => plantCanary(app)),
    [COMMANDS.removeCanary]: withApp((app) => removeCanary(app)),
  };
  return vscode.Disposable.from(
    ...Object.entries(handlers).map(([id, handler]) =>
      vscode.commands.registerCommand(id, async (...args: never[]) => {
        try {
          await handler(...args);
        } catch (error) {
          context.logger.error(`${id}: ${messageOf(error)}`);
          void vscode.window.showErrorMessage(messageOf(error));
        }
      }),
    ),
  );
}

/** The grant of a row, or one that is named. */
function grantIdOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return isRow(value) && value.kind === 'grant' ? value.grant : undefined;
}

function isRow(value: unknown): value is GrantRow {
  return typeof value === 'object' && value !== null && 'server' in value && 'kind' in value;
}

/** **Culvert: Review Changed Entries…** */
async function reviewChanges(app: App): Promise<void> {
  const found = app.core.tampering();
  if (found.length === 0) return;
  const lines = found.map(({ collection, id, problem }) => `${collection} ${id === '*' ? '(the list itself)' : id}: ${problem}`);
  const choice = await vscode.window.showWarningMessage(
    `${found.length} stored ${found.length === 1 ? 'entry was' : 'entries were'} changed by something other than Culvert.`,
    {
      modal: true,
      detail: `They are ignored, and every call asks until you have settled this:\n\n${lines.slice(0, 15).join('\n')}${lines.length > 15 ? `\n… and ${lines.length - 15} more in the log` : ''}\n\nIf it was not you, somebody has write access to Culvert’s database. Forgetting them keeps what Culvert itself wrote.`,
    },
    'Forget Them',
  );
  if (choice === 'Forget Them') app.core.forgetTampering();
}
