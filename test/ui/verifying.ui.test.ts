import assert from 'node:assert/strict';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { told } from './actions.ts';
import { actsOn, writeForeignChain } from './history.ts';

/** So many that reading them takes seconds. */
const ENTRIES = 600_000;

describe('Verifying a long audit history', () => {
  const culvert = useCulvert();
  const progress = () => culvert().window.notification('verifying the audit history');

  before('write a long one', async function () {
    this.timeout(180_000);
    await culvert().window.openView('Culvert');
    await culvert()
      .window.statusBarItem(/Culvert/)
      .waitFor();
    writeForeignChain(culvert(), ENTRIES);
  });

  it('tells how far it is, and stops when told to, without a word on the record', async function () {
    this.timeout(120_000);
    const { window } = culvert();
    await window.command('Culvert: Verify Audit History');
    const percent = async () => Number(/(\d+) %/.exec(await progress().innerText())?.[1] ?? 0);
    await until(async () => (await percent()) > 0, { timeoutMs: 60_000, what: 'the progress' });
    await window.clickNotification('verifying the audit history', 'Cancel');
    await progress().waitFor({ state: 'hidden' });
    await window.exec('notifications.showList');
    assert.deepEqual(
      (await window.notifications()).filter((text) => /audit history (holds|was changed)/.test(text)),
      [],
    );
    assert.deepEqual(actsOn(culvert(), 'verified'), []);
  });

  it('goes through to the end the next time, and finds what is to be found', async function () {
    this.timeout(180_000);
    const { window } = culvert();
    await window.command('Culvert: Verify Audit History');
    await progress().waitFor();
    await progress().waitFor({ state: 'hidden', timeout: 120_000 });
    await told(window, /The audit history was changed: Chain chain-foreign: no window of this installation began it; its 600000 entries/);
    assert.deepEqual(actsOn(culvert(), 'verified'), ['1 problem']);
  });
});
