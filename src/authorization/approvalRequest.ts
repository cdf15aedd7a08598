import { hash } from 'node:crypto';
import { principalKey } from '../mcp/principal.ts';
import type { ArgumentChange } from './argumentsDiff.ts';
import type { Call } from './decide.ts';
import { span, type Caller, type Grant, type Target } from './grant.ts';
import type { AccessWish } from './requestAccess.ts';
import type { Proposal } from './widenings.ts';

/** What the user is shown and asked about. Holds no secret: arguments are redacted before they come here. */
export interface ApprovalRequest {
  readonly id: string;
  readonly principal: Caller;
  readonly call: Call;
  /** The arguments as text for reading, hidden characters still in it; `undefined` where the method has none. */
  readonly argumentsText: string | undefined;
  /** SHA-256 of the exact bytes of the message that runs if the user allows it, hex. */
  readonly digest: string;
  /** SHA-256 of the exact bytes of the arguments, hex; absent where the method has none. */
  readonly argumentsDigest?: string | undefined;
  /** Host (and port) where the call goes. */
  readonly destination: string;
  /** Names of the credentials that would be used. */
  readonly credentials: readonly string[];
  /** Client in words. */
  readonly client: string;
  /** When an unanswered request is denied, milliseconds since the epoch. */
  readonly deadline: number;
  /** {@link shownDigest}: what the answer is bound to. */
  readonly shown: string;
  /** Waiting calls that say exactly the same, this one included; more may come while the question is open. */
  readonly identical: number;
  /** Why the user is asked: the reason of the grant or policy. */
  readonly why: string;
  /** Grants that nearly let it through, in sentences. */
  readonly nearly?: readonly string[];
  /** False where a policy wants the question each time, so that no grant would spare it. */
  readonly lasting: boolean;
  /** What differs from the last call of this tool that the user approved in this window; absent if there is none. */
  readonly changes?: readonly ArgumentChange[] | undefined;
  /** Grants that could be given, narrowest first. Answer with {@link ProposalAnswer}. */
  readonly proposals: readonly Proposal[];
  /** Present if an agent asks for access, not for one call. */
  readonly wish?: AccessWish | undefined;
}

/** What the caller of `Approvals.request` knows about a call; the rest is found here. */
export type NewApproval = Pick<
  ApprovalRequest,
  'principal' | 'call' | 'argumentsText' | 'digest' | 'argumentsDigest' | 'destination' | 'credentials' | 'client'
>;

/** For whom and how long a proposal is given. */
export interface ProposalAnswer {
  readonly kind: 'proposal';
  /** {@link Proposal.id} of the request. */
  readonly proposal: string;
  readonly effect: 'allow' | 'deny';
  /** Milliseconds; absent: until it is revoked. */
  readonly forMs?: number;
  readonly uses?: number;
  /** Default: every agent, everywhere. `task` binds it to the running task of the server. */
  readonly where?: 'workspace' | 'branch' | 'window' | 'session' | 'client' | 'task';
  readonly why?: string;
}

/**
 * `workspace` falls away where no folder is open. `all` allows once each waiting call that says exactly the same. `dismiss` and `no` deny
 * this call, and the same for a while; `deny` denies the tool from now on.
 */
export type Answer = 'once' | 'all' | 'short' | 'workspace' | 'always' | 'deny' | 'no' | 'dismiss' | ProposalAnswer;

/** Shows requests to the user. One at a time; `signal` ends when the request is no longer waiting. */
export interface Approver {
  ask(request: ApprovalRequest, waiting: number, signal: AbortSignal): Promise<Answer>;
}

/**
 * Digest of what an approval is about: server, method, tool, arguments (exact bytes), destination and credentials. What is sent must have
 * the same, or the approval is not for it. SHA-256, hex.
 */
export function shownDigest(what: Pick<NewApproval, 'call' | 'argumentsDigest' | 'argumentsText' | 'destination' | 'credentials'>): string {
  const { call, destination, credentials } = what;
  const args = what.argumentsDigest ?? hash('sha256', what.argumentsText ?? '');
  return hash(
    'sha256',
    JSON.stringify(['shown', call.server, call.method ?? null, call.tool ?? null, args, destination, [...credentials].sort()]),
  );
}

/** What an agent that asks for access can be given, narrowest first. `reads`: whether a tool only reads. */
export function proposalsFor(wish: AccessWish, reads: (tool: string) => boolean): readonly Proposal[] {
  const propose = (id: string, label: string, names: readonly string[]): Proposal => {
    const target: Target = { kind: 'tools', names };
    return { id, label, target, words: `allow ${names.join(', ')} for ${span(wish.durationMs)}` };
  };
  const reading = wish.tools.filter(reads);
  const proposals = [propose('asked', 'What the agent asks for', wish.tools)];
  if (reading.length > 0 && reading.length < wish.tools.length)
    proposals.unshift(propose('reading', 'Of these only the tools that only read', reading));
  return proposals;
}

/** The scope of the caller’s workspace, if it has one. */
export function workspaceOf({ workspace, workspaceName }: Caller): Grant['scope'] | undefined {
  return workspace === undefined ? undefined : { workspace, ...(workspaceName === undefined ? {} : { workspaceName }) };
}

/** Names what is called, for comparison. */
export function toolKey({ server, method, tool }: Call): string {
  return JSON.stringify([server, method, tool]);
}

/** Names what a “no” holds for. */
export function refusalKey({ principal, call, wish }: Pick<ApprovalRequest, 'principal' | 'call' | 'wish'>): string {
  return JSON.stringify([principalKey(principal), call.server, wish ? 'request' : call.method, wish ? '' : call.tool]);
}

/** Names a call exactly as it was shown. */
export function exactKey(principal: Caller, shown: string): string {
  return `${principalKey(principal)}\u0000${shown}`;
}

/** The narrowest target that covers a call. */
export function targetOf(call: Call): Target {
  if (call.tool !== undefined) return { kind: 'tools', names: [call.tool] };
  const method = call.method ?? '';
  if (method.startsWith('resources/')) return { kind: 'resources' };
  if (method.startsWith('prompts/')) return { kind: 'prompts' };
  if (method === 'completion/complete') return { kind: 'completion' };
  return { kind: 'methods', names: [method] };
}
