import assert from 'node:assert/strict';
import { soak } from '../soak/soak.ts';

describe('a short soak', function () {
  this.timeout(270_000);

  it('loses no call, answers none twice or wrongly, records each once, and leaves nothing behind', async () => {
    const { summary, violations } = await soak({ seconds: 15, sessions: 40, seed: 2, killEvery: 4, rotateEvery: 3 });
    assert.deepEqual(violations, [], summary.join('\n'));
  });
});
