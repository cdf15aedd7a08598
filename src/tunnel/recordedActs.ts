import type { Act } from '../audit/record.ts';
import type { Access } from '../authorization/access.ts';
import { describeGrant, instant } from '../authorization/grant.ts';
import { DisposableStore, type Disposable } from '../common/disposable.ts';
import type { OutgoingDecision } from '../inspection/leakDecisions.ts';
import type { LeakGuard } from '../inspection/leakGuard.ts';

/** Puts on the record what the user does about access and leaks: grants, tasks, what may leave, canaries. */
export function recordActs(access: Access, leaks: LeakGuard, act: (act: Omit<Act, 'window'>) => void): Disposable {
  const store = new DisposableStore();
  store.add(
    access.onDidAct(({ given, revoked }) => {
      for (const grant of given)
        act({
          act: 'grant-given',
          server: grant.server,
          subject: describeGrant(grant),
          detail: `by ${grant.givenBy}`,
          id: grant.id,
          ...(grant.expiresAt === undefined ? {} : { until: grant.expiresAt }),
        });
      for (const grant of revoked) act({ act: 'grant-revoked', server: grant.server, subject: describeGrant(grant), id: grant.id });
    }),
  );
  store.add(
    access.onDidActOnTask(({ kind, task }) =>
      act({
        act: kind === 'started' ? 'task-started' : 'task-ended',
        subject: task.name,
        id: task.id,
        ...(kind === 'started' ? { detail: `until ${instant(task.endsAt)}` } : {}),
      }),
    ),
  );
  store.add(
    // “Not a Secret” and what is taken back are commands of the user, and on the record as such.
    leaks.decisions.onDidAnswer((answer) => act({ act: 'leak-decided', ...answerOf(answer) })),
  );
  store.add(
    leaks.canaries.onDidAct(({ canary, planted }) =>
      act({ act: planted ? 'canary-planted' : 'canary-removed', id: canary.id, subject: canary.name, detail: canary.kind }),
    ),
  );
  return store;
}

/** What the user decided about values that leave, as the record has it. */
function answerOf({ id, server, rule, tool, verdict }: OutgoingDecision): Pick<Act, 'id' | 'subject' | 'detail' | 'server'> {
  const what = verdict === 'may-leave' ? 'may leave' : 'never leaves';
  return { id, server, subject: rule, detail: tool === undefined ? what : `${what} with ${tool}` };
}
