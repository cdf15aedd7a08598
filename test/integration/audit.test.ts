import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { AuditLog } from '../../src/audit/auditLog.ts';
import type { AuditEvent } from '../../src/audit/export/event.ts';
import { importLines, thumbprintOf } from '../../src/audit/export/importLines.ts';
import { exportLines } from '../../src/audit/export/jsonLines.ts';
import type { Sink } from '../../src/audit/export/sink.ts';
import { Stream } from '../../src/audit/export/stream.ts';
import { SyslogSink } from '../../src/audit/export/syslogSink.ts';
import { WEBHOOK_SIGNATURE_HEADER, WebhookSink, isSigned } from '../../src/audit/export/webhookSink.ts';
import { applyRetention } from '../../src/audit/retention.ts';
import { verifyRecord } from '../../src/audit/verification.ts';
import { systemClock } from '../../src/common/clock.ts';
import { selfSigned } from '../support/certificate.ts';
import { ocsfProblems } from '../support/ocsf.ts';
import { Recorder, bodyOf, listen } from '../support/recorder.ts';
import { intent, outcome } from '../unit/audit/samples.ts';
import { noteSecret } from '../support/noted.ts';

const SCRIPT = join(import.meta.dirname, '../../scripts/verify-audit.mjs');

describe('the record outside', () => {
  let rec: Recorder;
  beforeEach(async () => {
    rec = new Recorder();
    await rec.start();
  });
  afterEach(() => rec.close());

  describe('export', () => {
    let file: string;
    const write = async (span: { from?: number; to?: number } = {}) => {
      file = join(rec.bench.folder.path, 'export.jsonl');
      writeFileSync(file, '');
      for await (const line of exportLines({ db: rec.db, checkpoints: rec.checkpoints, now: rec.clock.now(), ...span }))
        appendFileSync(file, line);
    };
    const check = (...args: string[]) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, file, ...args], { encoding: 'utf8' });
      return { status, said: stdout + stderr };
    };
    const edit = (change: (lines: string[]) => string[]) =>
      writeFileSync(file, `${change(readFileSync(file, 'utf8').trimEnd().split('\n')).join('\n')}\n`);

    beforeEach(async () => {
      await rec.calls(20);
      await rec.log.checkpoint();
      await rec.calls(5);
      await rec.log.checkpoint();
    });

    it('is verified by the script that needs nothing of Culvert', async () => {
      await write();
      const { status, said } = check('--key', thumbprintOf(await rec.checkpoints.publicKey()));
      assert.equal(status, 0, said);
      assert.match(said, /50 entries in 1 chains, 2 checkpoints/);
      assert.equal(check('--key', 'other').status, 1);
    });

    it('is found changed by the script, whatever was changed', async () => {
      const attacks: Record<string, readonly [(lines: string[]) => string[], RegExp]> = {
        edited: [(l) => l.map((t, i) => (i === 5 ? t.replace('echo', 'ping') : t)), /changed/],
        deleted: [(l) => l.filter((_, i) => i !== 5), /entry 6 stands where entry 5 should be/],
        swapped: [(l) => [...l.slice(0, 5), l[6] ?? '', l[5] ?? '', ...l.slice(7)], /stands where/],
        'tail cut': [
          (l) => l.filter((t) => !(t.includes('"type":"entry"') && (JSON.parse(t) as { n: number }).n > 45)),
          /entries up to 50 were signed/,
        ],
        'no checkpoint': [(l) => l.filter((t) => !t.includes('"id":1,')), /checkpoint before checkpoint 2 is missing/],
        'end cut': [(l) => l.slice(0, -1), /end of the file is missing/],
      };
      for (const [name, [change, finds]] of Object.entries(attacks)) {
        await write();
        edit(change);
        const { status, said } = check();
        assert.notEqual(status, 0, name);
        assert.match(said, finds, name);
      }
    });

    it('of a span is verified, too, and after retention', async () => {
      await write({ from: 11, to: 30 });
      assert.deepEqual([check().status, check().said.includes('20 entries')], [0, true], check().said);
      rec.clock.setWallClock(rec.clock.now() + 10 * 86_400_000);
      await rec.calls(3);
      const hold = { isHeld: () => false } as never;
      await applyRetention({ db: rec.db, log: rec.log, checkpoints: rec.checkpoints, hold, clock: rec.clock, policy: { maxDays: 5 } });
      await rec.log.checkpoint();
      await write();
      const { status, said } = check();
      assert.equal(status, 0, said);
      edit((l) => l.map((t) => (t.includes('"n":51,') ? t.replace('echo', 'ping') : t)));
      assert.match(check().said, /entry 51 was changed/);
    });

    it('comes in again for review, in a database of its own', async () => {
      await write();
      const path = join(rec.bench.folder.path, 'review.db');
      const imported = await importLines(file, path);
      assert.deepEqual(
        [imported.entries, imported.checkpoints, imported.thumbprint],
        [50, 2, thumbprintOf(await rec.checkpoints.publicKey())],
      );
      assert.deepEqual((await verifyRecord({ path, checkpoints: rec.checkpoints })).problems, []);
      await assert.rejects(importLines(file, path), { code: 'CULVERT_AUDIT_IMPORT_EXISTS' });
      edit((l) => l.map((t, i) => (i === 5 ? t.replace('echo', 'ping') : t)));
      await assert.rejects(importLines(file, `${path}2`), { code: 'CULVERT_AUDIT_IMPORT_CHANGED' });
      edit((l) => l.slice(0, -1));
      await assert.rejects(importLines(file, `${path}3`), { code: 'CULVERT_AUDIT_IMPORT_CUT' });
      writeFileSync(file, 'something else\n');
      await assert.rejects(importLines(file, `${path}4`), { code: 'CULVERT_AUDIT_IMPORT_UNREADABLE' });
    });
  });

  describe('webhook', () => {
    const secret = noteSecret(['hook', 'secret', 'of', 'the', 'test'].join('-'));
    let server: Server;
    let answers: number[];
    let got: AuditEvent[];
    let url: string;
    const sink = (form: 'culvert' | 'ocsf' = 'culvert') =>
      new WebhookSink({ id: `hook-${form}`, url, secret: async () => secret, form, version: '1', now: () => Date.now() / 1_000 });

    beforeEach(async () => {
      answers = [];
      got = [];
      server = createServer((request, response) => {
        void bodyOf(request).then((body) => {
          const status = answers.shift() ?? 204;
          if (!isSigned(secret, String(request.headers[WEBHOOK_SIGNATURE_HEADER]), body, Date.now() / 1_000)) response.statusCode = 400;
          else {
            response.statusCode = status;
            if (status < 300) got.push(...(JSON.parse(body) as { events: AuditEvent[] }).events);
          }
          response.end();
        });
      });
      url = `http://127.0.0.1:${await listen(server)}/`;
      rec.onClose(() => server.close());
    });

    it('gets every call and act once, in order, with ids that tie them to the record', async () => {
      await rec.calls(600);
      rec.log.act({ act: 'paused', window: 'w' });
      const stream = rec.stream(sink());
      await stream.flush();
      assert.equal(got.length, 601);
      assert.equal(new Set(got.map(({ id }) => id)).size, 601);
      assert.match(got[0]?.id ?? '', new RegExp(`^${rec.log.chain}:\\d+$`));
      assert.deepEqual(
        got.map(({ n }) => n),
        got.map(({ n }) => n).toSorted((a, b) => a - b),
      );
      assert.deepEqual([stream.status.behind, stream.status.sent, stream.status.state], [0, 601, 'idle']);
    });

    it('gets after an outage what it missed, and the status tells how much that is', async () => {
      const stream = rec.stream(sink());
      await stream.flush();
      answers = [503, 503];
      await rec.calls(3);
      await stream.flush();
      assert.equal(stream.status.state, 'waiting');
      assert.equal(stream.status.behind, 6);
      assert.match(stream.status.lastError ?? '', /HTTP 503/);
      await stream.flush();
      assert.equal(got.length, 0);
      await stream.flush();
      assert.deepEqual([got.length, stream.status.behind, stream.status.lastError], [3, 0, undefined]);
    });

    it('tries again by itself, later and later', async () => {
      answers = [500, 500, 500];
      await rec.calls(1);
      const stream = rec.stream(sink());
      const waits: number[] = [];
      for (let i = 0; i < 3; i++) {
        const changed = new Promise((resolve) => stream.onDidChange(resolve));
        rec.clock.advance(5_000);
        await changed;
        waits.push((stream.status.nextTryAt ?? 0) - rec.clock.now());
      }
      assert.ok((waits[0] ?? 0) <= 1_000 && (waits[2] ?? 0) >= 2_000 && (waits[2] ?? 0) <= 4_000, waits.join());
      const done = new Promise((resolve) => stream.onDidChange(resolve));
      rec.clock.advance(5_000);
      await done;
      assert.equal(got.length, 1, JSON.stringify(stream.status));
    });

    it('gets on from another window, and after a restart, what is new', async () => {
      await rec.calls(2);
      const first = rec.stream(sink());
      await first.flush();
      const otherLog = new AuditLog(rec.bench.window(), rec.clock, rec.checkpoints);
      const second = rec.stream(sink(), 'start', otherLog);
      await rec.calls(2);
      await second.flush();
      assert.equal(second.status.state, 'elsewhere');
      first.dispose();
      await second.flush();
      assert.equal(got.length, 4);
    });

    it('gets a call whose window went away without an end, as such', async () => {
      await rec.log.open('lost', intent);
      const stream = rec.stream(sink());
      await stream.flush();
      assert.equal(got.length, 0);
      rec.log.act({ act: 'stopped', window: 'w' });
      await stream.flush();
      assert.deepEqual(
        got.map((e) => (e.kind === 'call' ? [e.exchange, e.outcome] : e.act.act)),
        ['stopped', ['lost', undefined]],
      );
    });

    it('gets a call that ended long after it began', async () => {
      await rec.log.open('slow', intent);
      const stream = rec.stream(sink());
      await rec.calls(700);
      await stream.flush();
      rec.log.close('slow', outcome);
      await stream.flush();
      const last = got.at(-1);
      assert.equal(last?.kind === 'call' ? last.exchange : '', 'slow');
    });

    it('gets OCSF that its schema takes', async () => {
      await rec.calls(1);
      await rec.calls(1, { effect: 'deny' }, { result: 'denied' });
      rec.log.act({ act: 'paused', window: 'w' });
      await rec.stream(sink('ocsf')).flush();
      assert.equal(got.length, 3);
      for (const event of got) assert.deepEqual(ocsfProblems(event), []);
    });

    it('is not followed to another address', async () => {
      const elsewhere = createServer((_, response) => response.end());
      let asked = 0;
      elsewhere.on('request', () => asked++);
      const port = await listen(elsewhere);
      const redirecting = createServer((_, response) => response.writeHead(307, { location: `http://127.0.0.1:${port}/` }).end());
      url = `http://127.0.0.1:${await listen(redirecting)}/`;
      await rec.calls(1);
      const stream = rec.stream(sink());
      await stream.flush();
      assert.deepEqual([asked, stream.status.state], [0, 'waiting']);
      elsewhere.close();
      redirecting.close();
    });

    it('holds up no call, however long it takes', async () => {
      const slow: Sink = { id: 'slow', deliver: () => new Promise(() => undefined), close: () => undefined };
      await rec.calls(5);
      const stream = rec.stream(slow);
      void stream.flush();
      await new Promise(setImmediate);
      // The delivery never ends: calls that waited for it would not either.
      await rec.calls(50);
      assert.equal(stream.status.state, 'sending');
    });
  });

  describe('syslog', () => {
    const messagesOf = (bytes: Buffer): string[] => {
      const out: string[] = [];
      for (let at = 0; at < bytes.length;) {
        const space = bytes.indexOf(0x20, at);
        const length = Number(bytes.toString('latin1', at, space));
        out.push(bytes.toString('utf8', space + 1, space + 1 + length));
        at = space + 1 + length;
      }
      return out;
    };

    it('goes over TLS, framed, and after a lost connection comes again what may not have arrived', async () => {
      const { key, cert } = selfSigned();
      let bytes = Buffer.alloc(0);
      const sockets: Socket[] = [];
      const server = createTlsServer({ key, cert }, (socket) => {
        sockets.push(socket);
        socket.on('data', (data: Buffer) => (bytes = Buffer.concat([bytes, data])));
        socket.on('error', () => undefined);
      });
      const port = await listen(server);
      rec.onClose(() => server.close());
      const stream = rec.stream(
        new SyslogSink({ id: 's', host: '127.0.0.1', port, tls: { ca: cert, serverName: 'localhost' }, version: '1', hostname: 'host' }),
      );
      await rec.calls(3, { tool: 'schön' });
      await stream.flush();
      const until = async (count: number) => {
        for (let i = 0; i < 3_000 && messagesOf(bytes).length < count; i++) await new Promise((resolve) => setTimeout(resolve, 10));
        return messagesOf(bytes);
      };
      const first = await until(3);
      assert.equal(first.length, 3);
      // RFC 5424, 6: PRI 13 * 8 + 6, version 1.
      for (const message of first)
        assert.match(
          message,
          /^<110>1 \d{4}-\d\d-\d\dT[\d:.]+Z host culvert - call - CEF:0\|Culvert\|Culvert\|1\|call\.ok\|tools\/call schön\|1\|/,
        );
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => setTimeout(resolve, 50));
      await rec.calls(1);
      await stream.flush();
      const all = await until(7);
      const ids = all.map((m) => /externalId=(\S+)/.exec(m)?.[1]);
      assert.equal(new Set(ids).size, 4);
      assert.deepEqual(ids.slice(3, 6), ids.slice(0, 3));
      for (const socket of sockets) socket.destroy();
    });

    it('does not go to somebody who can not show the right certificate', async () => {
      const { key, cert } = selfSigned();
      const server = createTlsServer({ key, cert }, () => assert.fail('It was let in.'));
      const port = await listen(server);
      rec.onClose(() => server.close());
      await rec.calls(1);
      const stream = rec.stream(new SyslogSink({ id: 's', host: '127.0.0.1', port, tls: { ca: selfSigned().cert }, version: '1' }));
      await stream.flush();
      assert.equal(stream.status.state, 'waiting');
      assert.match(stream.status.lastError ?? '', /can’t be reached/);
    });

    it('is taken by a real rsyslog, over TLS', async function () {
      this.timeout(120_000);
      const modules = ['/usr/lib/x86_64-linux-gnu/rsyslog', '/usr/lib/aarch64-linux-gnu/rsyslog', '/usr/lib64/rsyslog', '/usr/lib/rsyslog'];
      const found = spawnSync('rsyslogd', ['-v'], { encoding: 'utf8' });
      if (found.error || !modules.some((folder) => existsSync(join(folder, 'lmnsd_gtls.so')))) {
        console.log('      rsyslog with GnuTLS is not installed (Debian: rsyslog, rsyslog-gnutls).');
        return this.skip();
      }
      const folder = rec.bench.folder.path;
      const { key, cert } = selfSigned();
      for (const [name, text] of Object.entries({ 'key.pem': key, 'cert.pem': cert })) writeFileSync(join(folder, name), text);
      const reserve = createTcpServer();
      const port = await listen(reserve);
      reserve.close();
      const out = join(folder, 'out.log');
      const configuration = join(folder, 'rsyslog.conf');
      writeFileSync(
        configuration,
        `global(workDirectory="${folder}" maxMessageSize="64k" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="${folder}/cert.pem" defaultNetstreamDriverCertFile="${folder}/cert.pem" defaultNetstreamDriverKeyFile="${folder}/key.pem")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="${port}")
template(name="parsed" type="string" string="%syslogfacility% %syslogseverity% %protocol-version% %hostname% %app-name% %msgid% %msg%\\n")
*.* action(type="omfile" file="${out}" template="parsed")
`,
      );
      const daemon: ChildProcess = spawn('rsyslogd', ['-n', '-f', configuration, '-i', join(folder, 'pid')], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let said = '';
      for (const pipe of [daemon.stdout, daemon.stderr]) pipe?.on('data', (text: Buffer) => (said += text.toString()));
      const ended = once(daemon, 'exit');
      rec.onClose(async () => {
        daemon.kill('SIGTERM');
        await ended;
      });
      await rec.calls(20, { tool: 'schön = a|b' });
      const stream = rec.stream(
        new SyslogSink({
          id: 's',
          host: '127.0.0.1',
          port,
          tls: { ca: cert, serverName: 'localhost' },
          version: '1',
          hostname: 'host.example',
        }),
      );
      const lines = () =>
        existsSync(out)
          ? readFileSync(out, 'utf8')
              .split('\n')
              .filter((l) => l.includes('CEF:'))
          : [];
      for (let i = 0; i < 600 && lines().length < 20; i++) {
        if (stream.status.behind > 0) await stream.flush();
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.equal(lines().length, 20, `${said} ${stream.status.lastError ?? ''}`);
      assert.match(
        lines()[0] ?? '',
        /^13 6 1 host\.example culvert call CEF:0\|Culvert\|Culvert\|1\|call\.ok\|tools\/call schön = a\\\|b\|1\|rt=\d+ externalId=chain-/,
      );
      assert.match(lines()[0] ?? '', /cs1=schön \\= a\|b/);
    });
  });

  it('uses the clock of the system as well', async () => {
    const log = new AuditLog(rec.bench.window(), systemClock, rec.checkpoints);
    const got: AuditEvent[] = [];
    const stream = new Stream(rec.db, log, { id: 'real', deliver: async (e) => void got.push(...e), close: () => undefined }, systemClock);
    rec.onClose(() => stream.dispose());
    await log.open('x', intent);
    log.close('x', outcome);
    for (let i = 0; i < 3_000 && got.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(got.length, 1);
    log.dispose();
  });
});
