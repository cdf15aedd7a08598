import * as vscode from 'vscode';
import { createHash } from 'node:crypto';
import * as z from 'zod';
import type { Intent } from '../../audit/record.ts';
import { CallArguments } from '../../authorization/arguments.ts';
import type { Call, Ruling } from '../../authorization/decide.ts';
import { describeGrant, type Caller } from '../../authorization/grant.ts';
import { visible } from '../../common/text.ts';
import type { App } from '../app.ts';
import { withBranch } from '../branchWatch.ts';
import type { RecordDocuments } from '../recordDocument.ts';
import type { RecordTarget } from '../record/recordPage.ts';

const Target = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('server'), id: z.string() }),
  z.object({ kind: z.literal('grant'), id: z.string(), server: z.string() }),
  z.object({ kind: z.literal('credential'), id: z.string(), name: z.string() }),
  z.object({ kind: z.literal('task'), id: z.string() }),
  z.object({ kind: z.literal('exchange'), id: z.string() }),
]);

/** What shows something of the app in its view. */
export interface Reveal {
  server(id: string): Promise<void>;
  credential(id: string): Promise<void>;
}

/** A call of the record. */
export interface RecordedExchange {
  readonly exchange: string;
  readonly intent: Intent;
}

/** The call that a command is about: named by its argument, else that of the document in front. */
export async function callOf(app: App, documents: RecordDocuments, argument: unknown): Promise<RecordedExchange | undefined> {
  const named =
    typeof argument === 'object' && argument !== null && 'exchange' in argument && typeof argument.exchange === 'string'
      ? argument.exchange
      : undefined;
  const exchange = named ?? documents.exchangeOf(vscode.window.activeTextEditor?.document.uri);
  if (exchange === undefined) return undefined;
  const entry = (await app.core.index.record(exchange)).find(({ kind }) => kind === 'intent');
  if (!entry) {
    void vscode.window.showInformationMessage('The record holds nothing about this call.');
    return undefined;
  }
  return { exchange, intent: entry.body as Intent };
}

/** Goes where a link of a record document leads. */
export async function openRecordTarget(app: App, documents: RecordDocuments, reveal: Reveal, argument: unknown): Promise<void> {
  const target: RecordTarget | undefined = Target.safeParse(argument).data;
  if (!target) return;
  const { core } = app;
  const gone = async (what: string): Promise<void> => {
    // Not waited for: it stays until somebody closes it.
    void vscode.window.showInformationMessage(what);
  };
  switch (target.kind) {
    case 'exchange':
      return documents.showRecord(target.id);
    case 'server':
      return core.servers.get(target.id) ? reveal.server(target.id) : gone('This server was removed from Culvert.');
    case 'grant': {
      const grant = core.access.all().find(({ id }) => id === target.id);
      if (!grant) return gone('This grant is no longer there: it was used up, ended, was revoked, or replaced by another.');
      await reveal.server(target.server);
      return gone(`The grant: ${describeGrant(grant)}. Given ${new Date(grant.createdAt).toLocaleString()}.`);
    }
    case 'credential':
      return core.credentials.get(target.id) ? reveal.credential(target.id) : gone('This credential was forgotten.');
    case 'task': {
      const task = core.access.tasks.get(target.id);
      return gone(
        task ? `The task “${visible(task.name, 100)}”, until ${new Date(task.endsAt).toLocaleString()}.` : 'This task has ended.',
      );
    }
  }
}

/** **Culvert: Replay as Policy Test** How the call would be decided now. Nothing is sent, no use is taken. */
export async function replayCall(app: App, documents: RecordDocuments, intent: Intent): Promise<void> {
  const { core } = app;
  const server = core.servers.get(intent.server);
  const tool = visible(intent.tool ?? intent.method, 120);
  const lines = [
    `Call: ${tool} of ${visible(intent.serverLabel, 120)}`,
    `Then: ${EFFECT[intent.effect]}. ${visible(intent.reason, 1_000)}`,
  ];
  if (!server) lines.push('Now: denied. The server was removed from Culvert, so nothing of it can be called.');
  else {
    await core.access.ready();
    const args = argumentsOf(intent);
    const isTool = intent.method === 'tools/call';
    const call: Call = {
      ...core.callFor(server, intent.method, isTool ? intent.tool : undefined),
      ...(args === undefined ? {} : { arguments: args }),
    };
    const ruling = core.access.decide(withBranch(callerOf(app, intent), app.caller), call);
    lines.push(`Now: ${EFFECT[ruling.effect]}. ${visible(ruling.reason, 1_000)}`, ...nearly(ruling));
    lines.push(
      args === undefined && intent.argumentsDigest !== undefined
        ? 'Arguments: not known exactly (kept as a digest only, cut, or with a secret taken out). Conditions on them count as unclear.'
        : 'Arguments: exactly those of the call.',
      intent.effect === ruling.effect
        ? 'Outcome: decided as it was.'
        : 'Outcome: decided otherwise than it was. A question to you counts as “asks”, whatever you answered then.',
    );
  }
  await documents.showDetails(`Policy test of ${tool}`, `${lines.join('\n\n')}\n\nNothing was sent.\n`);
}

/** **Culvert: Revoke This Access** Ends the grant that let the call through; offers to deny the tool where it was none. */
export async function revokeCallAccess(app: App, intent: Intent): Promise<void> {
  const { access, servers } = app.core;
  const id = intent.grant ?? intent.decidedBy;
  const grant = access.all().find((g) => g.id === id);
  const what = `${visible(intent.tool ?? intent.method, 80)} of ${visible(intent.serverLabel, 80)}`;
  if (grant && grant.effect !== 'deny') {
    access.revoke([grant.id]);
    void vscode.window.showInformationMessage(`Revoked: ${describeGrant(grant)}. The next call of ${what} is decided without it.`);
    return;
  }
  if (!servers.get(intent.server)) {
    void vscode.window.showInformationMessage(`${visible(intent.serverLabel, 80)} was removed from Culvert: nothing of it can be called.`);
    return;
  }
  if (intent.method !== 'tools/call' || intent.tool === undefined) {
    void vscode.window.showInformationMessage(
      'No grant that is still there let this call through. “Culvert: Revoke…” lists those that are.',
    );
    return;
  }
  const target = { kind: 'tools' as const, names: [intent.tool] };
  const choice = await vscode.window.showInformationMessage(
    grant
      ? `This call was denied by a grant already.`
      : `The grant that decided about ${what} is no longer there, or it was a rule or your answer.`,
    ...(grant ? [] : ['Deny This Tool']),
  );
  if (choice === 'Deny This Tool') access.set(intent.server, target, 'deny', 'palette');
}

/** **Culvert: Copy Redacted** The record without what is in arguments and result, for showing to others. */
export async function copyRedacted(documents: RecordDocuments, exchange: string): Promise<void> {
  const page = await documents.page(exchange, true);
  if (!page) return;
  await vscode.env.clipboard.writeText(page.text);
  void vscode.window.setStatusBarMessage('Copied, without what is in arguments and result', 4_000);
}

const EFFECT = { allow: 'allowed', ask: 'asks', deny: 'denied' } as const;

/** The arguments, if the record has exactly the bytes that were sent. */
function argumentsOf({ arguments: text, argumentsDigest }: Intent): CallArguments | undefined {
  if (text === undefined || argumentsDigest === undefined) return undefined;
  return createHash('sha256').update(text).digest('hex') === argumentsDigest ? CallArguments.fromText(text) : undefined;
}

/** Who called, as far as the record tells. The workspace stands there by name: one of another name is none of this window. */
function callerOf({ principal }: App, { client, window, workspace }: Intent): Caller {
  return {
    client: client === 'vscode' ? 'vscode' : 'agent',
    window,
    ...(workspace !== undefined && workspace === principal.workspaceName && principal.workspace !== undefined
      ? { workspace: principal.workspace, workspaceName: workspace }
      : {}),
  };
}

function nearly({ near }: Ruling): string[] {
  const why = {
    conditions: 'its conditions do not hold',
    unclear: 'it is unclear whether its conditions hold',
    ended: 'it has ended',
    'other-branch': 'another git branch is checked out',
    'other-caller': 'it is for another caller',
    'used-up': 'its uses are used up',
    'too-fast': 'it was used too often in a short time',
  } as const;
  return near.map((miss) => `Nearly: ${describeGrant(miss.grant)}, but ${why[miss.why]}.`);
}
