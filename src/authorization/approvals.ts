import { hash } from 'node:crypto';
import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import type { StopSignal } from '../common/stop.ts';
import { newId } from '../common/identifiers.ts';
import type { Decision } from '../mcp/decision.ts';
import { denyBy } from '../mcp/decision.ts';
import { principalKey } from '../mcp/principal.ts';
import type { Access } from './access.ts';
import { answeredGrant } from './answeredGrant.ts';
import { ApprovedArguments } from './approvedArguments.ts';
import { CallArguments } from './arguments.ts';
import { subject, type Call, type Ruling } from './decide.ts';
import { describeNear } from './explain.ts';
import { describeGrantFully, type Caller } from './grant.ts';
import { Refusals } from './refusals.ts';
import type { AccessOutcome, AccessWish } from './requestAccess.ts';
import { widenings } from './widenings.ts';
import {
  shownDigest,
  proposalsFor,
  refusalKey,
  exactKey,
  type ApprovalRequest,
  type NewApproval,
  type Answer,
  type Approver,
} from './approvalRequest.ts';

/** Questions that one client may have waiting; more are denied at once. */
export const MAX_WAITING_PER_CLIENT = 100;

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
  readonly #approved = new ApprovedArguments();
  readonly #queue: Pending[] = [];
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
    const ruling = this.#rule(principal, call);
    return this.#wait(
      {
        ...what,
        why: ruling?.reason ?? '',
        nearly: (ruling?.near ?? []).map(describeNear),
        lasting: ruling?.by.kind !== 'policy',
        changes: argumentsText === undefined ? undefined : this.#approved.changes(call, argumentsText),
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
      this.#approved.note(request);
      for (const one of same)
        one.settle({ effect: 'allow', by: { kind: 'rule', rule: 'answered' }, reason: `${what} was allowed once by the user.` });
      return;
    }
    const grant = answeredGrant(request, answer, {
      ruling: request.wish ? undefined : this.#rule(request.principal, request.call),
      tasks: this.#access.tasks,
      now: this.#clock.now(),
    });
    if (grant === undefined) {
      pending.settle(denyBy('fault', 'There is no workspace, branch, session or task to allow it in.'));
      return;
    }
    try {
      const given = this.#access.give(grant);
      if (given.effect === 'allow') this.#approved.note(request);
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
