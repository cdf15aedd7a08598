import { hash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { shownDigest } from '../authorization/approvalRequest.ts';
import type { Call, Ruling } from '../authorization/decide.ts';
import type { Caller } from '../authorization/grant.ts';
import { denyBy, type Decision } from '../mcp/decision.ts';
import { clientLabel } from '../mcp/principal.ts';
import { destinationOf, type Server } from '../mcp/server.ts';
import { asksForAccess } from './accessRequests.ts';
import { argumentsOf, digestOfArguments } from './callArguments.ts';
import type { Core } from './core.ts';
import type { Passage } from './passage.ts';
import { lookAhead } from './outgoing.ts';
import { argumentsText } from './recording.ts';
import type { Session } from './sessions.ts';
import type { StagesOptions } from './stages.ts';
import type { Task } from './tasks.ts';

/** Stage 3: grants and policies decide; where they say so, the user is asked. Leaves the decision, and what made it, on the exchange. */
export function authorize(x: Passage, options: StagesOptions): Promise<void> | undefined {
  const pending = options.policiesReady?.();
  return pending ? pending.then(() => decideNow(x, options)) : decideNow(x, options);
}

/** Resolves when the user has answered; `undefined` if nobody has to be asked. */
function decideNow(x: Passage, options: StagesOptions): Promise<void> | undefined {
  const { access } = options.core;
  const ruling = throughTasks(x, options, access.admit(callerOf(x, options), callOf(x, options)));
  x.decision = ruling;
  x.policyDigest = access.digest();
  x.shadow = ruling.shadow;
  if (ruling.effect !== 'ask') {
    noteTask(x, options, ruling);
    return undefined;
  }
  return ask(x, options).then((decision) => {
    x.decision = decision;
    // While the user thought, another secret may have been sealed: what was looked at before does not count any more.
    x.clean = undefined;
    noteTask(x, options, decision);
  });
}

function noteTask(x: Passage, { core: { access } }: StagesOptions, { by }: Decision): void {
  const ends = by.kind === 'grant' ? access.get(by.grant)?.endsWith : undefined;
  x.task = ends?.kind === 'task' ? access.tasks.get(ends.task)?.name : undefined;
}

/**
 * What is to be done by what the user allows now with an exchange that was let through before. The use that it took of a grant stays
 * taken; none is taken anew.
 */
export function decideAgain(x: Passage, options: StagesOptions): Decision {
  return throughTasks(x, options, options.core.access.recheck(callerOf(x, options), callOf(x, options), grantOf(x.decision)));
}

/**
 * What is asked about a task is decided as the call that began it, so that a revoke keeps its result back too; the user who was asked about
 * that call is not asked again. Any task may be cancelled.
 */
function throughTasks(x: Passage, options: StagesOptions, ruling: Ruling): Ruling {
  if (x.tasks.length === 0 || ruling.effect !== 'allow' || x.message?.method === 'tasks/cancel') return ruling;
  let last = ruling;
  for (const task of x.tasks) {
    last = decideTask(x, options, task);
    if (last.effect === 'deny') return last;
  }
  if (last.effect === 'allow') return last;
  return {
    effect: 'allow',
    by: { kind: 'rule', rule: 'answered' },
    reason: 'The call that began the task was decided when it was made.',
    near: [],
  };
}

/** What the call that began a task would come to now: its own arguments, and the use that it took stays taken. */
export function decideTask(x: Passage, options: StagesOptions, { tool, grant, arguments: args }: Task): Ruling {
  return options.core.access.recheck(callerOf(x, options), { ...toolCall(x, options, tool), arguments: args }, grant);
}

/** Whether any call of a tool could be let through, whatever its arguments. */
export function prospectOf(x: Passage, options: StagesOptions, tool: string): Ruling {
  return options.core.access.prospect(callerOf(x, options), toolCall(x, options, tool));
}

/** The grant that let a call through. */
export function grantOf(decision: Decision | undefined): string | undefined {
  return decision?.by.kind === 'grant' ? decision.by.grant : undefined;
}

/** Who calls, as grants see it. The branch is looked up only if a grant or policy goes by it, and stays the same for the exchange. */
export function callerOf(x: Passage, { branch }: Pick<StagesOptions, 'branch'>): Caller {
  if (x.caller) return x.caller;
  const { principal } = x;
  const session = x.session && sessionScope(x.session);
  const known = session === undefined ? principal : { ...principal, session };
  if (!branch) return (x.caller = known);
  let found: { readonly name: string | undefined } | undefined;
  return (x.caller = {
    ...known,
    get branch() {
      found ??= { name: branch() };
      return found.name;
    },
  });
}

const scopes = new WeakMap<Session, string>();

/** What names a session in grants: a digest, since its id is good for calls. There is none where nobody gave one an id. */
function sessionScope(session: Session): string | undefined {
  if (session.id === '') return undefined;
  let scope = scopes.get(session);
  if (scope === undefined) {
    scope = hash('sha256', JSON.stringify(['session', session.server, session.principal, session.id]), 'base64url');
    scopes.set(session, scope);
  }
  return scope;
}

/** The call as authorization sees it; what is made of its arguments on the way is made once. */
export function callOf(x: Passage, options: StagesOptions): Call {
  if (x.call) return x.call;
  const { message } = x;
  x.asksForAccess = asksForAccess(x, options);
  // Whoever may connect may ask. A pause, and policies that close the whole server, hold for that too.
  if (x.asksForAccess) return (x.call = { ...placeOf(x.server, options.core), method: 'tools/list' });
  const call: Call =
    message?.method === 'tools/call' && message.name !== undefined
      ? toolCall(x, options, message.name)
      : { ...placeOf(x.server, options.core), method: message?.method };
  return (x.call = { ...call, arguments: message && argumentsOf(message) });
}

function toolCall(x: Passage, { core }: Pick<StagesOptions, 'core'>, tool: string): Call {
  return { ...placeOf(x.server, core), method: 'tools/call', tool, reads: core.catalog.reads(x.server.id, tool) };
}

function placeOf(server: Server, core: Core): Pick<Call, 'server' | 'serverLabel' | 'place' | 'credentials'> {
  return { server: server.id, serverLabel: server.label, place: server.upstream, credentials: core.credentialNames(server) };
}

async function ask(x: Passage, options: StagesOptions): Promise<Decision> {
  const { core } = options;
  // A notification expects no answer, so nobody can be asked on its behalf.
  if (x.message?.kind !== 'request')
    return denyBy('no-grant', 'This needs the user’s permission each time, and a notification can’t wait for it.');
  await core.ready();
  await lookAhead(x, core);
  const what = {
    principal: { ...callerOf(x, options) },
    call: callOf(x, options),
    argumentsText: argumentsText(x, core),
    digest: hash('sha256', x.body),
    argumentsDigest: digestOfArguments(x.message),
    destination: destinationOf(x.server),
    credentials: core.credentialNames(x.server),
    client: clientLabel(x.principal, x.claims.clientName),
  };
  x.shown = shownDigest(what);
  return core.approvals.request(what, options.approvalTimeoutMs(), x.gone);
}

/**
 * Whether what is about to be sent is what the user was shown when asked: the same server, tool, arguments, destination and credentials. Looks
 * at what is stored now, since the user, or another window, may have changed the server meanwhile. True where nobody was asked.
 */
export function isAsShown(x: Passage, options: StagesOptions): boolean {
  if (x.shown === undefined) return true;
  const { core } = options;
  const stored = core.servers.get(x.server.id);
  if (!stored || !x.message) return false;
  const server = core.accounts.on(stored, x.principal.workspace);
  const now = shownDigest({
    call: callOf(x, options),
    argumentsText: undefined,
    argumentsDigest: digestOfArguments(x.message),
    destination: destinationOf(server),
    credentials: core.credentialNames(server),
  });
  // What is sent goes by the server as it was when the call came in, in more than what can be shown.
  return (
    now === x.shown && isDeepStrictEqual(server.upstream, x.server.upstream) && isDeepStrictEqual(server.credentials, x.server.credentials)
  );
}
