import assert from 'node:assert/strict';
import { reaches, spellOut, termsOf, timeLeft, untilNextText, wallClock } from '../../../src/vscode/reach.ts';

const NOW = new Date(2026, 5, 1, 14, 5, 9).getTime();
const proposal = {
  target: { kind: 'tools', names: ['create_issue'] } as const,
  conditions: [{ test: 'equals', at: '/owner', value: 'acme' } as const],
};

describe('how long and where', () => {
  it('offers only what there is', () => {
    const ids = (context: Parameters<typeof reaches>[0]) => reaches(context).map((r) => r.id);
    assert.deepEqual(ids({}), ['once', 'short', 'hour', 'window', 'always']);
    assert.deepEqual(ids({ workspaceName: 'shop', branch: 'main', session: 's' }), [
      'once',
      'short',
      'hour',
      'session',
      'window',
      'workspace',
      'branch',
      'always',
    ]);
  });

  it('offers nothing beside a running task that would outlast it', () => {
    const offered = reaches({ task: 'release', workspaceName: 'shop', branch: 'main' });
    assert.deepEqual(
      offered.map((r) => r.id),
      ['once', 'short', 'hour', 'task'],
    );
    for (const reach of offered)
      assert.match(spellOut(termsOf(proposal, reach, { task: 'release' }, NOW), NOW), /until the task ends/, reach.id);
  });

  it('spells the grant out, with its end by the clock on the wall', () => {
    const words = Object.fromEntries(
      reaches({ workspaceName: 'shop', branch: 'main', session: 's' }).map((reach) => [
        reach.id,
        spellOut(termsOf(proposal, reach, { workspaceName: 'shop', branch: 'main', session: 's' }, NOW), NOW),
      ]),
    );
    assert.deepEqual(words, {
      once: 'allow create_issue where owner is “acme”, once',
      short: 'allow create_issue where owner is “acme”, until 14:20',
      hour: 'allow create_issue where owner is “acme”, until 15:05',
      session: 'allow create_issue where owner is “acme” in one session, until you revoke it',
      window: 'allow create_issue where owner is “acme” in one window',
      workspace: 'allow create_issue where owner is “acme” in shop, until you revoke it',
      branch: 'allow create_issue where owner is “acme” in shop on branch main, until you revoke it',
      always: 'allow create_issue where owner is “acme”, until you revoke it',
    });
  });

  it('names the day of an end that is not today', () => {
    assert.equal(wallClock(NOW + 60_000, NOW), '14:06');
    assert.match(wallClock(NOW + 24 * 60 * 60_000, NOW), /\S 14:05$/);
  });
});

describe('time left', () => {
  it('reads in minutes, and at the end in seconds', () => {
    assert.deepEqual([0, 900, 9_200, 10_001, 41_000, 60_000, 60_001, 15 * 60_000, 3 * 60 * 60_000, 72 * 60 * 60_000].map(timeLeft), [
      '0 s left',
      '1 s left',
      '10 s left',
      '15 s left',
      '45 s left',
      '60 s left',
      '2 min left',
      '15 min left',
      '3 h left',
      '3 d left',
    ]);
  });

  it('is looked at again just when it reads differently, never later', () => {
    for (let ms = 200; ms < 20 * 60_000; ms += 1_237) {
      const text = timeLeft(ms);
      const wait = untilNextText(ms);
      // A text that outlives the wait would be wrong on screen.
      for (const part of [0.25, 0.5, 0.99]) {
        const later = timeLeft(ms - wait * part);
        assert.ok(later === text || wait <= 5_000, `${ms}: ${text} became ${later} before ${wait} ms were over`);
      }
    }
  });
});
