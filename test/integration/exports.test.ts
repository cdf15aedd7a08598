import assert from 'node:assert/strict';
import { createServer as createTlsServer } from 'node:https';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AuditEvent } from '../../src/audit/export/event.ts';
import { WEBHOOK_SIGNATURE_HEADER, isSigned } from '../../src/audit/export/webhookSink.ts';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import { Secret } from '../../src/credentials/secret.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall } from '../support/agent.ts';
import { selfSigned } from '../support/certificate.ts';
import { answerJson, resultFor } from '../support/fakeServer.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { newScene, recordText, type Scene } from '../support/tunnels.ts';

/** A receiver of webhooks over TLS that checks signature and header, as one in the field does. */
class Receiver {
  readonly got: AuditEvent[] = [];
  readonly key = madeUpSecret('hook');
  readonly token = madeUpSecret('token');
  up = true;
  refused = 0;
  readonly #server: Server;
  readonly cert: string;
  #port = 0;
  readonly #waiting: { readonly is: () => boolean; readonly resolve: () => void }[] = [];

  constructor() {
    const { key, cert } = selfSigned();
    this.cert = cert;
    this.#server = createTlsServer({ key, cert }, (request, response) => {
      void bodyOf(request).then((body) => {
        const header = String(request.headers[WEBHOOK_SIGNATURE_HEADER]);
        const good = isSigned(this.key, header, body, Date.now() / 1_000) && request.headers['x-token'] === this.token;
        if (!good) this.refused++;
        response.statusCode = !this.up ? 503 : good ? 204 : 401;
        if (response.statusCode === 204) this.got.push(...(JSON.parse(body) as { events: AuditEvent[] }).events);
        response.end();
        for (const { resolve } of this.#waiting.filter(({ is }) => is())) resolve();
      });
    });
  }

  async start(): Promise<this> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  get url(): string {
    return `https://localhost:${this.#port}/hook`;
  }

  /** Resolves once something is so, looked at with every delivery. */
  until(is: () => boolean): Promise<void> {
    return is() ? Promise.resolve() : new Promise((resolve) => this.#waiting.push({ is, resolve }));
  }

  calls(): string[] {
    return this.got.flatMap((event) => (event.kind === 'call' ? [event.exchange] : []));
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

describe('streaming exports', () => {
  let scene: Scene;
  let keyring: MemorySecretStore;
  let receiver: Receiver;
  let setting: Record<string, unknown>[];
  beforeEach(async () => {
    scene = await newScene();
    keyring = new MemorySecretStore();
    receiver = await new Receiver().start();
    const ca = join(scene.state.path, 'ca.pem');
    writeFileSync(ca, receiver.cert);
    setting = [{ name: 'siem', kind: 'webhook', url: receiver.url, ca, secret: 'siem-key', headers: { 'x-token': 'siem-token' } }];
  });
  afterEach(async () => {
    await scene.close();
    receiver.stop();
  });

  const window = async () => {
    const tunnel = await scene.open({ vault: keyring });
    tunnel.core.exports.configure(setting);
    return tunnel;
  };
  const secrets = async ({ core }: HeadlessTunnel) => {
    await core.record.setExportSecret('siem-key', new Secret(receiver.key));
    await core.record.setExportSecret('siem-token', new Secret(receiver.token));
  };
  const call = (tunnel: HeadlessTunnel) => send(tunnel, { body: toolCall('echo') });
  const stateOf = ({ core }: HeadlessTunnel) => core.exports.states()[0];

  it('run only once the user started them, with secrets from the keyring, over TLS that is trusted by the setting', async () => {
    const tunnel = await window();
    assert.equal(stateOf(tunnel)?.state, 'off');
    await call(tunnel);
    tunnel.core.exports.start('siem', 'start');
    await changed(tunnel, () => stateOf(tunnel)?.state === 'waiting');
    assert.match(stateOf(tunnel)?.problem ?? '', /The export secret “siem-\w+” is not in the keyring/);
    assert.ok((stateOf(tunnel)?.behindSince ?? 0) > 0);
    await secrets(tunnel);
    await receiver.until(() => receiver.calls().length === 1);
    await changed(tunnel, () => stateOf(tunnel)?.state === 'idle');
    assert.deepEqual([stateOf(tunnel)?.behind, stateOf(tunnel)?.problem, receiver.refused], [0, undefined, 0]);
    assert.ok(receiver.got.some((event) => event.kind === 'act' && event.act.detail?.startsWith('started: webhook to https://localhost')));
    for (const secret of [receiver.key, receiver.token]) assert.deepEqual(tracesIn(recordText(tunnel), secret), []);
  });

  it('stop by themselves when what the settings say is not what was started, and tell that to the receiver last', async () => {
    const tunnel = await window();
    await secrets(tunnel);
    tunnel.core.exports.start('siem', 'now');
    await call(tunnel);
    await receiver.until(() => receiver.calls().length === 1);
    const elsewhere = await new Receiver().start();
    tunnel.core.record.settings.note([{ key: 'culvert.audit.exports', value: setting }]);
    setting = [{ ...setting[0], url: elsewhere.url }];
    tunnel.core.record.settings.note([{ key: 'culvert.audit.exports', value: setting }]);
    tunnel.core.exports.configure(setting);
    assert.equal(stateOf(tunnel)?.state, 'changed');
    await receiver.until(() => receiver.got.some((event) => event.kind === 'act' && event.act.act === 'setting-changed'));
    await call(tunnel);
    await tunnel.core.audit.checkpoint();
    assert.deepEqual([elsewhere.got, receiver.calls().length], [[], 1]);
    // As it was: it goes on where it was.
    setting = [{ ...setting[0], url: receiver.url }];
    tunnel.core.exports.configure(setting);
    await receiver.until(() => receiver.calls().length === 2);
    await tunnel.core.exports.stop('siem');
    const last = receiver.got.at(-1);
    assert.deepEqual(last?.kind === 'act' ? [last.act.act, last.act.detail] : last, ['export-changed', 'stopped']);
    assert.equal(stateOf(tunnel)?.state, 'off');
    elsewhere.stop();
  });

  it('are done by one window at a time, and each thing arrives once', async () => {
    const [one, two] = [await window(), await window()];
    await secrets(one);
    one.core.exports.start('siem', 'now');
    two.core.refresh();
    await Promise.all(Array.from({ length: 20 }, (_, i) => call(i % 2 ? one : two)));
    await receiver.until(() => receiver.calls().length >= 20);
    const busy = [one, two].map((tunnel) => stateOf(tunnel)?.state);
    assert.ok(busy.filter((state) => state === 'elsewhere').length <= 1, busy.join());
    assert.equal(new Set(receiver.got.map(({ id }) => id)).size, receiver.got.length);
  });

  it('survive an outage and the end of the window, and go on in the next one', async () => {
    const first = await window();
    await secrets(first);
    first.core.exports.start('siem', 'now');
    await call(first);
    await receiver.until(() => receiver.calls().length === 1);
    receiver.up = false;
    for (let i = 0; i < 3; i++) assert.equal((await call(first)).json().error, undefined);
    await changed(first, () => stateOf(first)?.problem !== undefined);
    assert.match(stateOf(first)?.problem ?? '', /HTTP 503/);
    await first.close();
    receiver.up = true;
    const second = await window();
    await receiver.until(() => receiver.calls().length === 4);
    await changed(second, () => stateOf(second)?.behind === 0);
    assert.equal(new Set(receiver.calls()).size, 4);
  });

  it('do not bring an export secret back to an agent', async () => {
    const tunnel = await window();
    await secrets(tunnel);
    scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { stolen: receiver.key }));
    const got = await call(tunnel);
    assert.deepEqual(tracesIn(got.body, receiver.key), []);
  });

  it('that somebody wrote into the database by hand do not run', async () => {
    const tunnel = await window();
    const row = { version: 1, id: 'siem', definition: setting[0], at: 1 };
    scene.outside.prepare("INSERT INTO signed_row (collection, id, body, mac) VALUES ('export', 'siem', ?, 'x')").run(JSON.stringify(row));
    await new Promise(setImmediate);
    tunnel.core.refresh();
    assert.equal(stateOf(tunnel)?.state, 'off');
    assert.ok(tunnel.core.tampering().some(({ collection }) => collection === 'export'));
  });
});

/** Resolves once something is so, looked at with every change of an export. */
function changed({ core }: HeadlessTunnel, is: () => boolean): Promise<void> {
  if (is()) return Promise.resolve();
  return new Promise((resolve) => {
    const subscription = core.exports.onDidChange(() => {
      if (!is()) return;
      subscription.dispose();
      resolve();
    });
  });
}
