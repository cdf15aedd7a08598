import assert from 'node:assert/strict';
import { Stop } from '../../../src/common/stop.ts';
import {
  LeakQuestions,
  MAX_WAITING_QUESTIONS,
  type LeakAnswer,
  type LeakAsker,
  type LeakQuestion,
} from '../../../src/inspection/leakQuestions.ts';
import { ManualClock } from '../../support/manualClock.ts';

class Asked implements LeakAsker {
  readonly open: { readonly question: LeakQuestion; readonly signal: AbortSignal; readonly answer: (answer: LeakAnswer) => void }[] = [];

  ask(question: LeakQuestion, signal: AbortSignal): Promise<LeakAnswer> {
    return new Promise((answer) => this.open.push({ question, signal, answer }));
  }
}

const about = (tool: string): Omit<LeakQuestion, 'id' | 'deadline'> => ({
  server: 's',
  serverLabel: 'S',
  tool,
  destination: 'example.test',
  client: 'VS Code',
  lasting: true,
  findings: [
    {
      rule: 'jwt',
      severity: 'medium',
      subject: 'a token',
      direction: 'to-server',
      form: 'as is',
      action: 'blocked',
      digest: 'd'.repeat(64),
    },
  ],
});
const turn = () => new Promise(setImmediate);

describe('LeakQuestions', () => {
  it('asks one at a time, and the same only once', async () => {
    const asked = new Asked();
    const questions = new LeakQuestions(asked, new ManualClock());
    const answers = ['a', 'a', 'b'].map((tool) => questions.ask(about(tool), 1_000, new Stop()));
    await turn();
    assert.deepEqual([asked.open.length, questions.waiting], [1, 2]);
    asked.open[0]?.answer('once');
    assert.deepEqual(await Promise.all(answers.slice(0, 2)), ['once', 'once']);
    await turn();
    assert.equal(asked.open[1]?.question.tool, 'b');
    asked.open[1].answer('no');
    assert.equal(await answers[2], 'no');
    assert.equal(questions.waiting, 0);
  });

  it('ends with its time, with the agent, with its owner; and takes the question away', async () => {
    const [asked, clock, gone] = [new Asked(), new ManualClock(), new Stop()];
    const questions = new LeakQuestions(asked, clock);
    const late = questions.ask(about('a'), 1_000, new Stop());
    const left = questions.ask(about('b'), 5_000, gone);
    const ended = questions.ask(about('c'), 5_000, new Stop());
    await turn();
    clock.advance(1_000);
    assert.equal(await late, 'unanswered');
    assert.equal(asked.open[0]!.signal.aborted, true);
    gone.abort();
    assert.equal(await left, 'unanswered');
    questions.dispose();
    assert.equal(await ended, 'unanswered');
  });

  it('is a no where nobody can be asked, where asking fails, and where too much waits', async () => {
    const clock = new ManualClock();
    assert.equal(await new LeakQuestions(undefined, clock).ask(about('a'), 1_000, new Stop()), 'unanswered');
    const failing = new LeakQuestions({ ask: () => Promise.reject(new Error('no window')) }, clock);
    assert.equal(await failing.ask(about('a'), 1_000, new Stop()), 'no');
    const full = new LeakQuestions(new Asked(), clock);
    for (let i = 0; i < MAX_WAITING_QUESTIONS; i++) void full.ask(about(`t${i}`), 1_000, new Stop());
    assert.equal(await full.ask(about('one more'), 1_000, new Stop()), 'unanswered');
    full.dispose();
  });
});
