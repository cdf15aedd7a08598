import assert from 'node:assert/strict';
import { LEAKING_TOOL } from '../../scripts/demo/upstream.ts';
import { useCulvert } from '../harness/openCulvert.ts';
import { answer, choose, openViews, reached, waitOffered } from './actions.ts';

describe('An agent in the Chat view', () => {
  const culvert = useCulvert({ chat: true, demo: 'Issue Tracker' });

  before('open the Chat view', async () => {
    const { window } = culvert();
    await openViews(window, 'Grants', 'Activity');
    await window.tree('Grants').row('echo').waitFor();
    await window.chat.open();
  });
  // Answers that are scrolled out of sight can't be found.
  beforeEach(() => culvert().window.chat.newChat());

  it('calls a tool through Culvert, which asks, and gets the result', async () => {
    const { window } = culvert();
    const number = await window.chat.send('CALL echo$ {"message":"from the chat"}', { wait: false });
    await answer(window, 'echo', 'Allow once');
    await window.chat.done(number);
    assert.match(await window.chat.answer(number), /RESULT Echo: from the chat/);
    assert.deepEqual(reached(culvert()), ['echo']);
    await window.tree('Activity').waitDescription('echo', /^ok · Issue Tracker/);
  });

  it('does not see a secret that a tool sends back', async () => {
    const { window, upstream } = culvert();
    const number = await window.chat.send(`CALL ${LEAKING_TOOL}$ {}`, { wait: false });
    await answer(window, LEAKING_TOOL, 'Allow once');
    await window.chat.done(number);
    const text = await window.chat.answer(number);
    assert.match(text, /RESULT [\s\S]*DEMO_UPSTREAM_TOKEN/);
    assert.ok(!text.includes(upstream.token));
  });

  it('hears why a call was denied, and loses the tool', async () => {
    const { window } = culvert();
    const before = reached(culvert()).length;
    const number = await window.chat.send('CALL get-sum$ {"a":1,"b":2}', { wait: false });
    await answer(window, 'get-sum', 'Deny');
    await window.chat.done(number);
    assert.match(
      await window.chat.answer(number),
      /RESULT [\s\S]*Culvert denied this call\. The tool “get-sum” of Issue Tracker (was|is) denied by the user/,
    );
    await waitOffered(window, 'get-sum', false);
    const next = await window.chat.send('CALL get-sum$ {"a":1,"b":2}');
    assert.match(await window.chat.answer(next), /NO TOOL get-sum/);
    assert.equal(reached(culvert()).length, before);
  });

  it('does without a question what the user allows', async () => {
    const { window } = culvert();
    await choose(window.tree('Grants'), 'echo', /^Allow$/, /^allowed$/);
    const number = await window.chat.send('CALL echo$ {"message":"without a question"}');
    assert.match(await window.chat.answer(number), /RESULT Echo: without a question/);
  });
});
