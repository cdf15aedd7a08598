import assert from 'node:assert/strict';
import path from 'node:path';
import { LEAKING_TOOL } from '../../scripts/demo/upstream.ts';
import { useCulvert } from '../harness/openCulvert.ts';
import { SHOTS } from '../harness/paths.ts';
import { until } from '../harness/until.ts';
import { addServer, call, openViews, setSetting, tick } from './actions.ts';

const STEPS = ['import', 'allow', 'call', 'redaction', 'review'];
const THEMES = { light: 'Light Modern', dark: 'Dark Modern', contrast: 'Default High Contrast' };

describe('Walkthrough', () => {
  const culvert = useCulvert({ upstream: true });
  const open = () => culvert().window.exec('workbench.action.openWalkthrough', 'culvert.culvert#culvert.start', false);
  /** Ids of the steps that show a tick. */
  const done = async () => {
    const { window } = culvert();
    const states = await Promise.all(
      STEPS.map(async (step) => {
        const badge = window.page.locator(`[data-done-step-id="culvert.culvert#culvert.start#culvert.${step}"]`).first();
        return ((await badge.getAttribute('class')) ?? '').includes('complete') ? [step] : [];
      }),
    );
    return states.flat();
  };
  const waitDone = (...steps: string[]) =>
    until(async () => JSON.stringify(await done()) === JSON.stringify(steps), { what: `the steps ${steps.join(', ')} to be done` });

  it('completes each step by itself when it is done', async () => {
    const { window, upstream } = culvert();
    await open();
    await window.page.locator('.gettingStartedContainer', { hasText: 'Get Started with Culvert' }).first().waitFor();
    await waitDone();
    await addServer(window, { label: 'Issue Tracker', url: upstream.url, secret: upstream.token, start: 'Nothing' });
    await waitDone('import');
    await openViews(window, 'Grants');
    const grants = window.tree('Grants');
    await tick(grants, LEAKING_TOOL, true);
    await waitDone('import', 'allow');
    const leaking = await window.startMcp(new RegExp(`_${LEAKING_TOOL}$`));
    const result = await call(window, leaking, {});
    assert.ok(result.ok && !result.text.includes(upstream.token) && result.text.includes('redacted'), result.text);
    await waitDone('import', 'allow', 'call', 'redaction');
    await window.command('Culvert: Verify Audit History');
    await waitDone(...STEPS);
  });

  for (const [name, theme] of Object.entries(THEMES))
    it(`has pictures in the colours of the theme: ${name}`, async () => {
      const { window } = culvert();
      await setSetting(window, 'workbench.colorTheme', theme);
      for (const [i, step] of STEPS.entries()) {
        await window.page.locator(`[data-step-id="culvert.culvert#culvert.start#culvert.${step}"]`).first().click();
        const frame = await window.webview();
        const svg = frame.locator('svg').first();
        await until(async () => (await svg.locator('title').textContent()) !== null, { what: 'the picture' });
        if (i % 2 === 0) await window.page.screenshot({ path: path.join(SHOTS, `walkthrough-${name}-${step}.png`) });
      }
    });
});
