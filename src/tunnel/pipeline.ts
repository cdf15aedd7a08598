import type { Answer } from './answers.ts';
import type { Passage } from './passage.ts';
import type { Stages } from './stages.ts';

/**
 * The way of a call, in order (docs/architecture.md). A stage that returns an answer ends the way; what it answers is what the agent
 * gets. A stage that throws denies.
 */
const WAY = [
  'parse', //            1 listener: strict parse, era, header agreement
  'authenticate', //     2 authentication: session, answers and tasks belong to this principal
  'authorize', //        3 authorization: grants and policy; asks the user
  'openRecord', //       4 audit: intent; a denied call ends here
  'answerItself', //     ask for access: answered here, no server sees it
  'inspectOutgoing', //  5 inspection out: no secret where it doesn't belong
  'injectCredentials', // 6 credentials: opened for this origin only
  'callUpstream', //     7 upstream
] as const;

/** Carries an exchange through all stages. Whatever happens, the outcome is recorded. */
export async function carry(exchange: Passage, stages: Stages): Promise<Answer> {
  let answer: Answer | undefined;
  try {
    for (const stage of WAY) {
      const made = stages[stage](exchange);
      // Most stages are through at once; each wait would cost a turn of the microtasks.
      answer = made instanceof Promise ? await made : made;
      if (answer) break;
    }
    if (!answer) {
      const made = stages.relay(exchange); //          8 inspection in: every message on its way to the agent
      answer = made instanceof Promise ? await made : made;
    }
  } catch (error) {
    answer = stages.fail(exchange, error);
  }
  stages.deliver(exchange, answer);
  const closing = stages.closeRecord(exchange, answer); // 9 audit: outcome
  if (closing) await closing;
  return answer;
}
