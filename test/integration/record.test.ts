import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { BEAT_MS } from '../../src/audit/chainMemory.ts';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import { rpc, send, toolCall, type Got } from '../support/agent.ts';
import { answerJson, beginStream, event, idOf, resultFor } from '../support/fakeServer.ts';
import { ManualClock } from '../support/manualClock.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { lastCall, newScene, recordText, recorded, type Scene } from '../support/tunnels.ts';

/** Keys of the keyring, as core.ts names them. */
const CHAINS = 'culvert.audit-chains.';

describe('the record of a window', () => {
  let scene: Scene;
  let keyring: MemorySecretStore;
  beforeEach(async () => {
    scene = await newScene();
    keyring = new MemorySecretStore();
  });
  afterEach(() => scene.close());

  it('lets nothing through while the keyring can’t know of it, and works by itself once it can', async () => {
    const clock = new ManualClock();
    const store = keyring.store.bind(keyring);
    let locked = true;
    keyring.store = (key, value) => (locked && key.startsWith(CHAINS) ? Promise.reject(new Error('locked')) : store(key, value));
    const tunnel = await scene.open({ vault: keyring, clock });
    const call = async () => (await send(tunnel, { body: toolCall('echo') })).json();
    assert.match((await call()).error?.message ?? '', /can’t write its record, so nothing is let through/);
    assert.equal(scene.server.seen.length, 0);
    assert.ok(scene.log.lines.some((line) => line.includes('keyring can’t be written (locked)')));
    locked = false;
    const noted = new Promise<void>((resolve) => keyring.onDidChange((key) => key.startsWith(CHAINS) && resolve()));
    clock.advance(BEAT_MS);
    await noted;
    while ((await call()).error) await new Promise(setImmediate);
    assert.equal(scene.server.seen.length, 1);
    assert.deepEqual((await tunnel.core.audit.verify()).problems, []);
  });

  it('is forgotten by the keyring when it closed in order, and its index answers', async () => {
    const tunnel = await scene.open({ vault: keyring });
    await send(tunnel, { body: toolCall('echo') });
    const { calls } = await tunnel.core.index.calls({ named: true }, { limit: 10 });
    assert.deepEqual(
      calls.map(({ intent }) => intent.tool),
      ['echo'],
    );
    const chain = tunnel.core.audit.chain;
    assert.ok((await tunnel.core.record.checkpoints.memory.chains()).has(chain));
    await tunnel.close();
    const next = await scene.open({ vault: keyring });
    assert.ok(!(await next.core.record.checkpoints.memory.chains()).has(chain));
    const { problems, endings } = await next.core.audit.verify();
    assert.deepEqual([problems, endings.map(({ chain: of, how }) => [of, how])], [[], [[next.core.audit.chain, 'running']]]);
  });

  describe('says of a call', () => {
    const meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'tester', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    const modern = {
      body: rpc('tools/call', { name: 'echo', arguments: { a: 1 }, _meta: meta }, 'seven'),
      headers: { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'echo' },
    };

    it('what was known before, and afterwards how it went', async () => {
      const secret = madeUpSecret();
      const tunnel = await scene.open({ auth: { name: 'token', placement: { kind: 'bearer' }, value: secret } });
      const got = await send(tunnel, modern);
      await recorded(tunnel, () => lastCall(tunnel).outcome !== undefined);
      const { intent, outcome } = lastCall(tunnel);
      const [credential] = tunnel.core.credentials.list();
      assert.deepEqual(
        [intent.v, intent.protocol, intent.rpcId, intent.era, intent.decidedBy === intent.grant, intent.session],
        [2, '2026-07-28', '"seven"', 'modern', true, undefined],
      );
      assert.deepEqual(intent.credentialUse, [{ id: credential?.id, name: 'token', revision: 1 }]);
      assert.ok(intent.mono !== undefined && outcome?.mono !== undefined && outcome.mono >= intent.mono);
      assert.equal(outcome.resultDigest, createHash('sha256').update(got.body).digest('hex'));
      assert.equal(outcome.resultText, undefined);
      const stages = Object.keys(outcome.stages ?? {});
      assert.deepEqual(stages, ['parse', 'authenticate', 'authorize', 'record', 'inspectOut', 'credentials', 'upstream', 'inspectIn']);
      const sum = Object.values(outcome.stages ?? {}).reduce((a, b) => a + b, 0);
      assert.ok(sum <= outcome.totalMs + 0.1, `${sum} of ${outcome.totalMs}`);
    });

    it('the result without secrets where the setting says so, also of a stream, and nothing of it where it says so', async () => {
      const secret = madeUpSecret();
      const auth = { name: 'token', placement: { kind: 'bearer' }, value: secret } as const;
      const tunnel = await scene.open({ auth, vault: keyring, recordResults: 'redacted' });
      scene.server.behave = (seen, response) => {
        const result = resultFor(seen, { echo: seen.headers.authorization });
        if (seen.body.includes('stream')) {
          beginStream(response);
          response.end(event(JSON.parse(result)));
        } else answerJson(response, result);
      };
      for (const name of ['echo', 'stream']) {
        const before = tunnel.core.audit.head.n;
        const got = await send(tunnel, { body: toolCall(name) });
        await recorded(tunnel, () => tunnel.core.audit.head.n >= before + 2);
        const { outcome } = lastCall(tunnel);
        assert.deepEqual(JSON.parse(outcome?.resultText ?? ''), { echo: 'Bearer ⟦culvert: token redacted⟧' }, name);
        const text = got.body.toString();
        const message = name === 'stream' ? (/^data: ?(.*)$/m.exec(text)?.[1] ?? '') : text;
        assert.equal(outcome?.resultDigest, createHash('sha256').update(message).digest('hex'), name);
        assert.deepEqual(outcome.found, [{ rule: 'known-secret', action: 'redacted' }]);
      }
      assert.deepEqual(tracesIn(recordText(tunnel), secret), []);
      const off = await scene.open({ vault: keyring, recordResults: 'off' });
      const before = off.core.audit.head.n;
      await send(off, { body: toolCall('echo') });
      await recorded(off, () => off.core.audit.head.n >= before + 2);
      assert.deepEqual([lastCall(off).outcome?.resultDigest, lastCall(off).outcome?.resultText], [undefined, undefined]);
    });

    it('the code of an error, a demand for input, who was asked, and the session only as a digest', async () => {
      const tunnel = await scene.open({ access: 'ask', vault: keyring });
      const done = async (start: () => Promise<Got>) => {
        const before = tunnel.core.audit.head.n;
        const got = await start();
        await recorded(tunnel, () => tunnel.core.audit.head.n >= before + 2);
        return { got, ...lastCall(tunnel) };
      };
      const asked = done(() => send(tunnel, modern));
      await scene.approver.questions(1);
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, { resultType: 'input_required', inputRequests: {}, requestState: 's' }));
      scene.approver.answer(0, 'once');
      const { intent, outcome } = await asked;
      assert.deepEqual([intent.approver, outcome?.inputRequired], ['user', true]);
      scene.server.behave = (seen, response) =>
        answerJson(response, JSON.stringify({ jsonrpc: '2.0', id: idOf(seen), error: { code: -32602, message: 'no' } }));
      const failed = await done(() => send(tunnel, { body: rpc('tools/list') }));
      assert.deepEqual([failed.outcome?.result, failed.outcome?.rpcCode], ['rpc-error', -32602]);
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, {}), 200, { 'mcp-session-id': 'session-of-the-test' });
      await done(() => send(tunnel, { body: rpc('initialize', { protocolVersion: '2025-11-25' }) }));
      const { intent: within } = await done(() =>
        send(tunnel, { body: rpc('ping'), headers: { 'mcp-session-id': 'session-of-the-test' } }),
      );
      assert.equal(within.session, createHash('sha256').update('session-of-the-test').digest('hex').slice(0, 16));
      assert.ok(!recordText(tunnel).includes('session-of-the-test'));
    });
  });
});
