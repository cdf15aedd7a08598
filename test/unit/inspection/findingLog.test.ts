import assert from 'node:assert/strict';
import { FindingLog } from '../../../src/inspection/findingLog.ts';
import type { Finding } from '../../../src/mcp/finding.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';

const finding: Finding = {
  rule: 'known-secret',
  severity: 'high',
  subject: 'token',
  direction: 'to-agent',
  form: 'as is',
  action: 'redacted',
};

describe('FindingLog', () => {
  let bench: Bench;
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.close());

  it('counts repetitions in one entry, newest first, and keeps dismissals', () => {
    const clock = new ManualClock();
    const log = new FindingLog(bench.window(), clock);
    let changes = 0;
    log.onDidChange(() => changes++);
    log.add([], { server: 's', tool: 't', exchange: 'x0' });
    assert.equal(changes, 0);
    log.add([finding], { server: 's', tool: 't', exchange: 'x1' });
    clock.advance(5);
    log.add([finding, { ...finding, form: 'hex' }], { server: 's', tool: 't', exchange: 'x2' });
    clock.advance(5);
    log.add([finding], { server: 's', tool: undefined, exchange: 'x3' });
    const list = log.list({ dismissed: false });
    assert.deepEqual(
      list.map((f) => [f.tool, f.form, f.count, f.exchange]),
      [
        [undefined, 'as is', 1, 'x3'],
        ['t', 'as is', 2, 'x2'],
        ['t', 'hex', 1, 'x2'],
      ],
    );
    log.setDismissed(list[1]?.id ?? '', true);
    log.add([finding], { server: 's', tool: 't', exchange: 'x4' });
    assert.equal(log.list({ dismissed: false }).length, 2);
    assert.equal(new FindingLog(bench.window(), clock).list({ dismissed: true })[0]?.count, 3);
  });
});
