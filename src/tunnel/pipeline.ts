import type { Answer } from './answers.ts';
import type { Passage } from './passage.ts';
import type { Stages } from './stages.ts';

/**
 * The way of a call, in order (docs/architecture.md). A stage that returns an answer ends the way; what it answers is what the agent
 * gets. A stage that throws denies. Whatever happens, the outcome is recorded.
 */
export async function carry(exchange: Passage, stages: Stages): Promise<Answer> {
  let answer: Answer;
  try {
    answer =
      stages.parse(exchange) ?? //                       1 listener: strict parse, era, header agreement
      stages.authenticate(exchange) ?? //                2 authentication: session, answers and tasks belong to this principal
      (await stages.authorize(exchange)) ?? //           3 authorization: grants and policy; asks the user
      (await stages.openRecord(exchange)) ?? //          4 audit: intent; a denied call ends here
      (await stages.answerItself(exchange)) ?? //        ask for access: answered here, no server sees it
      (await stages.inspectOutgoing(exchange)) ?? //     5 inspection out: no secret where it doesn't belong
      (await stages.injectCredentials(exchange)) ?? //   6 credentials: opened for this origin only
      (await stages.callUpstream(exchange)) ?? //        7 upstream
      (await stages.relay(exchange)); //                 8 inspection in: every message on its way to the agent
  } catch (error) {
    answer = stages.fail(exchange, error);
  }
  stages.deliver(exchange, answer);
  await stages.closeRecord(exchange, answer); //       9 audit: outcome
  return answer;
}
