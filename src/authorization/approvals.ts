import { hash } from 'node:crypto';
import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import type { StopSignal } from '../common/stop.ts';
import { newId } from '../common/identifiers.ts';
import type { Decision } from '../mcp/decision.ts';
import { denyBy } from '../mcp/decision.ts';
import { principalKey } from '../mcp/principal.ts';
import type { Access } from './access.ts';
import type { NewGrant } from './grantChanges.ts';
import { CallArguments } from './arguments.ts';
import { diffArguments } from './argumentsDiff.ts';
import { subject, type Call, type Ruling } from './decide.ts';
import { describeNear } from './explain.ts';
import { describeGrantFully, type Caller, type Grant } from './grant.ts';
import { Refusals } from './refusals.ts';
import type { AccessOutcome, AccessWish } from './requestAccess.ts';
import { widenings } from './widenings.ts';
import {
  shownDigest,
  proposalsFor,
  workspaceOf,
  toolKey,
  refusalKey,
  exactKey,
  targetOf,
  type ApprovalRequest,
  type NewApproval,
  type ProposalAnswer,
  type Answer,
  type Approver,
} from './approvalRequest.ts';

/** How long “for 15 minutes” lasts, milliseconds. */
export const SHORT_GRANT_MS = 15 * 60 * 1000;
/** Questions that one client may have waiting; more are denied at once. */
export const MAX_WAITING_PER_CLIENT = 100;
/** Calls whose arguments are kept for comparison, and the longest of them, characters. In memory only. */
const MAX_APPROVED = 500;
const MAX_APPROVED_CHARACTERS = 64 * 1024;

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
  readonly #refusals: Refusals;
  readonly #queue: Pending[] = [];
  /** Arguments of the last approved call, by server and tool. */
  readonly #approved = new Map<string, string>();
  readonly #changed = new Emitter<number>();
  readonly #subscription: Disposable;
  #asking = false;
  #deciding: 'no' | 'now' | 'again' = 'no';

  /** Fires with the number of waiting calls. */
  readonly onDidChange = this.#changed.event;

  constructor(access: Access, approver: Approver, clock: Clock) {
    this.#access = access;
    this.#approver = approver;
    this.#clock = clock;
    this.#refusals = new Refusals(clock);
    this.#subscription = access.onDidChange(() => this.#decideWaiting());
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Waits for the user's word about one call. `signal` is the agent's: when it goes away, so does the question. Never rejects. */
  request(what: NewApproval, timeoutMs: number, signal: StopSignal): Promise<Decision> {
    const { call, principal, argumentsText } = what;
    const before = this.#approved.get(toolKey(call));
    const ruling = this.#rule(principal, call);
    return this.#wait(
      {
        ...what,
        why: ruling?.reason ?? '',
        nearly: (ruling?.near ?? []).map(describeNear),
        lasting: ruling?.by.kind !== 'policy',
        changes: before !== undefined && argumentsText !== undefined ? diffArguments(before, argumentsText) : undefined,
        proposals: widenings(call, argumentsText === undefined ? call.arguments : CallArguments.fromText(argumentsText)),
      },
      timeoutMs,
      signal,
    );
  }

  /**
   * Waits for the user's word about access that an agent asks for ({@link parseRequestAccess}). `reads` says which tools only read.
   * Never rejects.
   */
  async requestAccess(
    what: Pick<NewApproval, 'principal' | 'destination' | 'credentials' | 'client'> & {
      readonly server: string;
      readonly serverLabel: string;
      readonly wish: AccessWish;
      /** Where the server is, for policies. */
      readonly place?: Call['place'];
      readonly reads: (tool: string) => boolean;
    },
    timeoutMs: number,
    signal: StopSignal,
  ): Promise<AccessOutcome> {
    const { server, serverLabel, wish, principal, reads, destination, credentials, client, place } = what;
    const callOf = (tool: string): Call => ({ server, serverLabel, method: 'tools/call', tool, reads: reads(tool), place, credentials });
    const outcome = (decision: Decision): AccessOutcome => {
      const open = wish.tools.filter((tool) => this.#rule(principal, callOf(tool))?.effect !== 'deny');
      return { decision, allowed: decision.effect === 'allow' ? open : [], refused: wish.tools.filter((tool) => !open.includes(tool)) };
    };
    const settled = this.#settledWish(principal, wish, callOf);
    if (settled) return outcome(settled);
    const text = JSON.stringify({ tools: wish.tools, reason: wish.reason, minutes: Math.round(wish.durationMs / 60_000) });
    const decision = await this.#wait(
      {
        principal,
        call: { server, serverLabel, method: 'tools/call', tool: wish.tools[0] },
        argumentsText: text,
        digest: hash('sha256', text),
        destination,
        credentials,
        client,
        why: `The agent asks for access: “${wish.reason}”`,
        lasting: true,
        proposals: proposalsFor(wish, reads),
        wish,
      },
      timeoutMs,
      signal,
    );
    return outcome(decision);
  }

  /** Forgets what was refused, so that it may be asked again at once. */
  forgetRefusals(): void {
    this.#refusals.forget();
  }

  dispose(): void {
    this.#subscription.dispose();
    for (const pending of [...this.#queue]) pending.settle(denyBy('fault', 'Culvert was stopped before the user answered.'));
    this.#changed.dispose();
  }

  #wait(what: Omit<ApprovalRequest, 'id' | 'deadline' | 'shown' | 'identical'>, timeoutMs: number, signal: StopSignal): Promise<Decision> {
    const shown = shownDigest(what);
    const refused = this.#refusals.find(exactKey(what.principal, shown), refusalKey(what), subject(what.call));
    if (refused) return Promise.resolve(refused);
    const own = principalKey(what.principal);
    if (this.#queue.filter((p) => principalKey(p.request.principal) === own).length >= MAX_WAITING_PER_CLIENT)
      return Promise.resolve(
        denyBy(
          'unanswered',
          `${MAX_WAITING_PER_CLIENT} calls wait for the user’s answer already. Wait until they are answered, then try again.`,
        ),
      );
    const request: ApprovalRequest = { ...what, shown, identical: 1, id: newId('ask'), deadline: this.#clock.now() + timeoutMs };
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

  async #ask(pending: Pending): Promise<Answer | 'failed'> {
    const gone = new Promise<'failed'>((resolve) => {
      pending.stop.signal.addEventListener('abort', () => resolve('failed'), { once: true });
    });
    try {
      const count = () => Math.max(1, this.#identical(pending).length);
      const request = {
        ...pending.request,
        get identical() {
          return count();
        },
      };
      return await Promise.race([this.#approver.ask(request, this.#queue.length, pending.stop.signal), gone]);
    } catch {
      return 'failed';
    }
  }

  #answer(pending: Pending, answer: Answer | 'failed'): void {
    const { request } = pending;
    const what = subject(request.call);
    if (answer === 'failed') {
      pending.settle(denyBy('dismissed', `${what} was not allowed: the question could not be shown. See “Culvert: Show Log”.`));
      return;
    }
    if (answer === 'dismiss' || answer === 'no' || (answer === 'deny' && request.wish)) {
      this.#refuse(pending, answer);
      return;
    }
    if ((answer === 'once' || answer === 'all') && !request.wish) {
      const same = answer === 'all' ? this.#identical(pending) : [pending];
      // Another window may have paused or denied since: then this answer comes too late.
      this.#decideWaiting();
      this.#noteApproved(request);
      for (const one of same)
        one.settle({ effect: 'allow', by: { kind: 'rule', rule: 'answered' }, reason: `${what} was allowed once by the user.` });
      return;
    }
    const grant = request.wish
      ? this.#wishedGrant(request, request.wish, answer)
      : answer === 'once' || answer === 'all'
        ? undefined
        : this.#grantFor(request, answer);
    if (grant === undefined) {
      pending.settle(denyBy('fault', 'There is no workspace, branch, session or task to allow it in.'));
      return;
    }
    try {
      const given = this.#access.give(grant);
      if (given.effect === 'allow') this.#noteApproved(request);
      // Giving fires a change, which decides the waiting calls; this one is settled with its own words in case it is still there.
      pending.settle({
        effect: given.effect,
        by: { kind: 'grant', grant: given.id },
        reason: request.wish
          ? describeGrantFully(given, request.call.serverLabel)
          : `${what} was ${given.effect === 'deny' ? 'denied' : 'allowed'} by the user just now.`,
      });
    } catch {
      pending.settle(denyBy('fault', 'The answer could not be stored, so nothing was allowed. See “Culvert: Show Log”.'));
    }
  }

  #refuse(pending: Pending, answer: 'dismiss' | 'no' | 'deny'): void {
    const { request } = pending;
    this.#refusals.remember(exactKey(request.principal, request.shown), refusalKey(request));
    const how = answer === 'dismiss' ? 'the user closed the question without an answer' : 'the user said no';
    for (const one of this.#identical(pending)) one.settle(denyBy('dismissed', `${subject(request.call)} was not allowed: ${how}.`));
  }

  #identical(pending: Pending): readonly Pending[] {
    const key = exactKey(pending.request.principal, pending.request.shown);
    return this.#queue.filter((p) => exactKey(p.request.principal, p.request.shown) === key);
  }

  #noteApproved({ call, argumentsText }: ApprovalRequest): void {
    if (argumentsText === undefined || argumentsText.length > MAX_APPROVED_CHARACTERS) return;
    const key = toolKey(call);
    this.#approved.delete(key);
    if (this.#approved.size >= MAX_APPROVED) {
      const [oldest] = this.#approved.keys();
      if (oldest !== undefined) this.#approved.delete(oldest);
    }
    this.#approved.set(key, argumentsText);
  }

  #grantFor(request: ApprovalRequest, answer: Exclude<Answer, 'once' | 'all' | 'no' | 'dismiss'>): NewGrant | undefined {
    const { call, principal } = request;
    const ruling = this.#rule(principal, call);
    const asking = ruling?.effect === 'ask' && ruling.by.kind === 'grant' ? { answers: [ruling.by.grant] } : {};
    if (typeof answer === 'object') return this.#proposed(request, answer, asking);
    const base = {
      server: call.server,
      target: targetOf(call),
      effect: answer === 'deny' ? ('deny' as const) : ('allow' as const),
      givenBy: 'prompt' as const,
      ...(answer === 'deny' ? {} : asking),
    };
    if (answer === 'short') return { ...base, scope: {}, expiresAt: this.#clock.now() + SHORT_GRANT_MS };
    if (answer !== 'workspace') return { ...base, scope: {} };
    const scope = workspaceOf(principal);
    return scope && { ...base, scope };
  }

  #wishedGrant(request: ApprovalRequest, wish: AccessWish, answer: Answer): NewGrant | undefined {
    if (typeof answer === 'object') return this.#proposed(request, { why: wish.reason, forMs: wish.durationMs, ...answer }, {});
    const scope = answer === 'workspace' ? workspaceOf(request.principal) : {};
    return (
      scope && {
        server: request.call.server,
        target: { kind: 'tools', names: wish.tools },
        effect: 'allow',
        scope,
        givenBy: 'request',
        why: wish.reason,
        ...(answer === 'always' || answer === 'workspace' ? {} : { expiresAt: this.#clock.now() + wish.durationMs }),
      }
    );
  }

  #proposed(request: ApprovalRequest, answer: ProposalAnswer, asking: Pick<NewGrant, 'answers'>): NewGrant | undefined {
    const proposal = request.proposals.find((p) => p.id === answer.proposal);
    const reach = proposal && this.#reachOf(request, answer.where);
    if (!reach) return undefined;
    return {
      server: request.call.server,
      target: proposal.target,
      effect: answer.effect,
      givenBy: request.wish ? 'request' : 'prompt',
      ...reach,
      ...(answer.effect === 'allow' ? asking : {}),
      ...(proposal.conditions ? { conditions: proposal.conditions } : {}),
      ...(answer.forMs === undefined ? {} : { expiresAt: this.#clock.now() + answer.forMs }),
      ...(answer.uses === undefined ? {} : { uses: answer.uses }),
      ...(answer.why === undefined ? {} : { why: answer.why }),
    };
  }

  #reachOf({ principal, call }: ApprovalRequest, where: ProposalAnswer['where']): Pick<Grant, 'scope' | 'endsWith'> | undefined {
    switch (where) {
      case undefined:
        return { scope: {} };
      case 'client':
        return { scope: { client: principal.client } };
      case 'window':
        return { scope: {}, endsWith: { kind: 'window', window: principal.window } };
      case 'session':
        return principal.session === undefined ? undefined : { scope: { session: principal.session } };
      case 'task': {
        const task = this.#access.tasks.for(call.server);
        return task && { scope: {}, endsWith: { kind: 'task', task: task.id } };
      }
      case 'workspace':
      case 'branch': {
        const scope = workspaceOf(principal);
        if (where === 'workspace' || !scope) return scope && { scope };
        return principal.branch === undefined ? undefined : { scope: { ...scope, branch: principal.branch } };
      }
    }
  }

  /** Decides what waits again. Taking a use changes access in turn; such a change is looked at when this round is over. */
  #decideWaiting(): void {
    if (this.#deciding !== 'no') {
      this.#deciding = 'again';
      return;
    }
    try {
      do {
        this.#deciding = 'now';
        for (const pending of [...this.#queue]) if (this.#queue.includes(pending)) this.#decideAgain(pending);
      } while (this.#isAgain());
    } finally {
      this.#deciding = 'no';
    }
  }

  #isAgain(): boolean {
    return this.#deciding === 'again';
  }

  #decideAgain(pending: Pending): void {
    const { principal, call, wish } = pending.request;
    try {
      if (wish) {
        const settled = this.#settledWish(principal, wish, (tool) => ({ ...call, tool }));
        if (settled) pending.settle(settled);
        return;
      }
      const decision = this.#access.admit(principal, call);
      if (decision.effect !== 'ask') pending.settle(decision);
    } catch {
      pending.settle(denyBy('fault', 'Access could not be checked. See “Culvert: Show Log”.'));
    }
  }

  /** What became of a wish without the user: everything is open already, or something stands against it that the user set before. */
  #settledWish(principal: Caller, wish: AccessWish, callOf: (tool: string) => Call): Decision | undefined {
    const rulings = wish.tools.map((tool) => this.#access.decide(principal, callOf(tool)));
    const against = rulings.find((r) => r.effect === 'deny' && !(r.by.kind === 'rule' && r.by.rule === 'no-grant'));
    if (against) return against;
    return rulings.every((r) => r.effect === 'allow')
      ? { effect: 'allow', by: rulings[0]?.by ?? { kind: 'rule', rule: 'answered' }, reason: 'It is allowed already.' }
      : undefined;
  }

  #rule(principal: Caller, call: Call): Ruling | undefined {
    try {
      return this.#access.decide(principal, call);
    } catch {
      return undefined;
    }
  }
}
