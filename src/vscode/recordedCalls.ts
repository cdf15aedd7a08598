import { hash } from 'node:crypto';
import type { Activity } from '../audit/activities.ts';
import type { Intent } from '../audit/record.ts';
import { CallArguments } from '../authorization/arguments.ts';
import type { GrantUse, GrantUsage } from '../authorization/advise.ts';
import type { Grant } from '../authorization/grant.ts';
import type { RecordedCall } from '../authorization/rehearse.ts';
import type { Principal } from '../mcp/principal.ts';
import type { Server } from '../mcp/server.ts';
import { toolCall, type CredentialNames } from './calls.ts';

/** Rules that stand for an answer of the user, or for none: the call asked. */
const ANSWERS: readonly string[] = ['answered', 'dismissed', 'unanswered', 'refused'];

/** What is needed to read a call off the record. */
export interface RecordReader {
  readonly servers: { get(id: string): Server | undefined };
  readonly credentials: CredentialNames;
  reads(server: string, tool: string): boolean;
  readonly principal: Principal;
  /** To find the id of a workspace, of which the record keeps the name. */
  readonly grants: readonly Grant[];
}

/**
 * A call of a tool as it can be decided again; `undefined` for other calls and for those of servers that are gone. Arguments count only if
 * they are on the record as they were, which their digest tells.
 */
export function recordedCall({ exchange, at, intent }: Activity, reader: RecordReader): RecordedCall | undefined {
  const server = reader.servers.get(intent.server);
  if (!server || intent.method !== 'tools/call' || intent.tool === undefined) return undefined;
  const text = wholeArguments(intent);
  const call = toolCall(server, reader.credentials, intent.tool, reader.reads(server.id, intent.tool));
  return {
    id: exchange,
    at,
    principal: principalOf(intent, reader),
    call: text === undefined ? call : { ...call, arguments: CallArguments.fromText(text) },
    effect: ANSWERS.includes(intent.decidedBy) && intent.grant === undefined ? 'ask' : intent.effect,
  };
}

/** The arguments of a call, if they are on the record whole and with nothing taken out. A call without any has none that could be missing. */
export function wholeArguments({ arguments: text, argumentsDigest }: Intent): string | undefined {
  if (argumentsDigest === undefined) return '{}';
  return text !== undefined && hash('sha256', text) === argumentsDigest ? text : undefined;
}

/** Uses by grant, from calls that went out. */
export function usageOf(calls: Iterable<Activity>): GrantUsage {
  const usage = new Map<string, GrantUse[]>();
  for (const { at, intent } of calls) {
    if (intent.grant === undefined || intent.effect !== 'allow') continue;
    const text = wholeArguments(intent);
    const use: GrantUse = {
      at,
      tool: intent.method === 'tools/call' ? intent.tool : undefined,
      ...(text === undefined ? {} : { arguments: text }),
    };
    const list = usage.get(intent.grant);
    if (list) list.push(use);
    else usage.set(intent.grant, [use]);
  }
  return usage;
}

function principalOf(intent: Intent, { principal, grants }: RecordReader): Principal {
  const base = { client: intent.client === 'vscode' ? 'vscode' : 'agent', window: intent.window } as const;
  const name = intent.workspace;
  if (name === undefined) return base;
  const id = name === principal.workspaceName ? principal.workspace : grants.find((g) => g.scope.workspaceName === name)?.scope.workspace;
  return { ...base, workspaceName: name, ...(id === undefined ? {} : { workspace: id }) };
}
