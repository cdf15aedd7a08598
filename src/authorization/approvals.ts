import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import type { StopSignal } from '../common/stop.ts';
import { newId } from '../common/identifiers.ts';
import type { Decision } from '../mcp/decision.ts';
import type { Principal } from '../mcp/principal.ts';
import { denyBy } from '../mcp/decision.ts';
import type { Access, NewGrant } from './access.ts';
import { subject, type Call } from './decide.ts';
import type { Target } from './grant.ts';

/** How long “for 15 minutes” lasts, milliseconds. */
export const SHORT_GRANT_MS = 15 * 60 * 1000;

/** What the user is shown and asked about. Holds no secret: arguments are redacted before they come here. */
export interface ApprovalRequest {
  readonly id: string;
  readonly principal: Principal;
  readonly call: Call;
  /** The arguments as text for reading, hidden characters still in it; `undefined` where the method has none. */
  readonly argumentsText: string | undefined;
  /** SHA-256 of the exact bytes of the message that runs if the user allows it, hex. */
  readonly digest: string;
  /** Host (and port) where the call goes. */
  readonly destination: string;
  /** Names of the credentials that would be used. */
  readonly credentials: readonly string[];
  /** Client in words. */
  readonly client: string;
  /** When an unanswered request is denied, milliseconds since the epoch. */
  readonly deadline: number;
}

/** `workspace` falls away where no folder is open. */
export type Answer = 'once' | 'short' | 'workspace' | 'always' | 'deny' | 'dismiss';

/** Shows requests to the user. One at a time; `signal` ends when the request is no longer waiting. */
export interface Approver {
  ask(request: ApprovalRequest, waiting: number, signal: AbortSignal): Promise<Answer>;
}

interface Pending {
  readonly request: ApprovalRequest;
  readonly settle: (decision: Decision) => void;
  readonly stop: AbortController;
}

/**
 * Calls that wait for the user. One prompt at a time; before each, and whenever access changes, the waiting calls are decided again,
 * so that one answer serves all it covers. “Once” serves exactly the request that was shown.
 */
export class Approvals implements Disposable {
  readonly #access: Access;
  readonly #approver: Approver;
  readonly #clock: Clock;
  readonly #queue: Pending[] = [];
  readonly #changed = new Emitter<number>();
  readonly #subscription: Disposable;
  #asking = false;

  /** Fires with the number of waiting calls. */
  readonly onDidChange = this.#changed.event;

  constructor(access: Access, approver: Approver, clock: Clock) {
    this.#access = access;
    this.#approver = approver;
    this.#clock = clock;
    this.#subscription = access.onDidChange(() => this.#decideWaiting());
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Waits for the user's word about one call. `signal` is the agent's: when it goes away, so does the question. Never rejects. */
  request(what: Omit<ApprovalRequest, 'id' | 'deadline'>, timeoutMs: number, signal: StopSignal): Promise<Decision> {
    const request: ApprovalRequest = { ...what, id: newId('ask'), deadline: this.#clock.now() + timeoutMs };
    return new Promise((resolve) => {
      const stop = new AbortController();
      const pending: Pending = {
        request,
        stop,
        settle: (decision) => {
          const at = this.#queue.indexOf(pending);
          if (at < 0) return;
          this.#queue.splice(at, 1);
          timer.dispose();
          signal.removeEventListener('abort', onAbort);
          stop.abort();
          resolve(decision);
          this.#changed.fire(this.#queue.length);
        },
      };
      const timer = this.#clock.after(timeoutMs, () => {
        pending.settle(
          denyBy(
            'unanswered',
            `${subject(request.call)} needs the user’s permission and nobody answered within ${Math.round(timeoutMs / 1000)} seconds. Tell the user that Culvert is asking, then try again.`,
          ),
        );
      });
      const onAbort = () => pending.settle(denyBy('unanswered', 'The agent gave up before the user answered.'));
      signal.addEventListener('abort', onAbort);
      this.#queue.push(pending);
      this.#changed.fire(this.#queue.length);
      if (signal.aborted) onAbort();
      void this.#next();
    });
  }

  dispose(): void {
    this.#subscription.dispose();
    for (const pending of [...this.#queue]) pending.settle(denyBy('fault', 'Culvert was stopped before the user answered.'));
    this.#changed.dispose();
  }

  async #next(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      for (let pending = this.#queue[0]; pending; pending = this.#queue[0]) {
        const answer = await this.#ask(pending);
        if (this.#queue.includes(pending)) this.#answer(pending, answer);
      }
    } finally {
      this.#asking = false;
    }
  }

  async #ask(pending: Pending): Promise<Answer> {
    const gone = new Promise<'dismiss'>((resolve) => {
      pending.stop.signal.addEventListener('abort', () => resolve('dismiss'), { once: true });
    });
    try {
      return await Promise.race([this.#approver.ask(pending.request, this.#queue.length, pending.stop.signal), gone]);
    } catch {
      return 'dismiss';
    }
  }

  #answer(pending: Pending, answer: Answer): void {
    const { request } = pending;
    const what = subject(request.call);
    if (answer === 'once') {
      // Another window may have paused or denied since: then this answer comes too late.
      this.#decideWaiting();
      pending.settle({ effect: 'allow', by: { kind: 'rule', rule: 'answered' }, reason: `${what} was allowed once by the user.` });
      return;
    }
    if (answer === 'dismiss') {
      pending.settle(denyBy('dismissed', `${what} was not allowed: the user closed the question without an answer.`));
      return;
    }
    const grant = this.#grantFor(request, answer);
    if (grant === undefined) {
      pending.settle(denyBy('fault', 'There is no workspace to allow it in.'));
      return;
    }
    try {
      const given = this.#access.give(grant);
      // Giving fires a change, which decides the waiting calls; this one is settled with its own words in case it is still there.
      pending.settle({
        effect: given.effect,
        by: { kind: 'grant', grant: given.id },
        reason: `${what} was ${answer === 'deny' ? 'denied' : 'allowed'} by the user just now.`,
      });
    } catch {
      pending.settle(denyBy('fault', 'The answer could not be stored, so nothing was allowed. See “Culvert: Show Log”.'));
    }
  }

  #grantFor(request: ApprovalRequest, answer: Exclude<Answer, 'once' | 'dismiss'>): NewGrant | undefined {
    const { call, principal } = request;
    const base = {
      server: call.server,
      target: targetOf(call),
      effect: answer === 'deny' ? ('deny' as const) : ('allow' as const),
      givenBy: 'prompt' as const,
    };
    if (answer === 'short') return { ...base, scope: {}, expiresAt: this.#clock.now() + SHORT_GRANT_MS };
    if (answer !== 'workspace') return { ...base, scope: {} };
    if (principal.workspace === undefined) return undefined;
    return {
      ...base,
      scope: {
        workspace: principal.workspace,
        ...(principal.workspaceName === undefined ? {} : { workspaceName: principal.workspaceName }),
      },
    };
  }

  #decideWaiting(): void {
    for (const pending of [...this.#queue]) {
      let decision: Decision;
      try {
        decision = this.#access.decide(pending.request.principal, pending.request.call);
      } catch {
        decision = denyBy('fault', 'Access could not be checked. See “Culvert: Show Log”.');
      }
      if (decision.effect !== 'ask') pending.settle(decision);
    }
  }
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
