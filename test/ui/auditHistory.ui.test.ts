import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isSigned } from '../../src/audit/export/webhookSink.ts';
import { useCulvert } from '../harness/openCulvert.ts';
import { PROJECT_ROOT } from '../harness/paths.ts';
import { until } from '../harness/until.ts';
import { Workbench } from '../harness/workbench.ts';
import { addServer, callAndAnswer, openViews, paletteCommands, setSetting, told, typed } from './actions.ts';
import { noteSecret } from '../support/noted.ts';

const EXPORT = 'Export Audit History';

describe('The audit history', () => {
  const culvert = useCulvert({ upstream: true });
  const runFolder = () => path.dirname(culvert().workspace);
  const databaseFile = () => {
    const found = fs.readdirSync(runFolder(), { recursive: true, encoding: 'utf8' }).filter((name) => path.basename(name) === 'culvert.db');
    assert.equal(found.length, 1);
    return path.join(runFolder(), found[0] ?? '');
  };
  const shown = () => culvert().window.eval((api) => api.window.activeTextEditor?.document.getText() ?? '');
  /** The text of the document in front, once it says this. */
  const document = (says: RegExp) =>
    until(
      async () => {
        const text = await shown();
        return says.test(text) ? text : undefined;
      },
      { what: `a document that says ${String(says)}` },
    );
  /** Resolves once the palette offers a command, or does so no more. */
  const offered = (command: string, is: boolean) =>
    until(async () => (await paletteCommands(culvert().window)).includes(command) === is, {
      what: `the palette ${is ? 'with' : 'without'} ${command}`,
    });
  const details = async (notification: string | RegExp, button: string, says: RegExp) => {
    await told(culvert().window, notification);
    await culvert().window.clickNotification(notification, button);
    return document(says);
  };
  /** Answers the dialog for files. It takes an answer once it has read the folder that was typed, of which it shows what is in it. */
  const chooseFile = async (title: string, file: string, button = 'OK') => {
    const { window } = culvert();
    const dialog = await window.quickInputWith(title);
    const accept = dialog.getByRole('button', { name: button, exact: true });
    await accept.waitFor();
    const folder = window.quickRow(dialog, 'companions');
    await until(
      async () => {
        if (!(await dialog.isVisible())) return true;
        if ((await typed(window).catch(() => file)) !== file) await window.inputBox(file, { title, submit: false });
        const isRead = await folder.waitFor({ timeout: 1_000 }).then(
          () => true,
          () => false,
        );
        if (!isRead || (await typed(window).catch(() => '')) !== file) return false;
        await accept.click({ timeout: 1_000 }).catch(() => undefined);
        return dialog.waitFor({ state: 'hidden', timeout: 1_000 }).then(
          () => true,
          () => false,
        );
      },
      { what: `${file} to be taken` },
    );
  };
  let thumbprint = '';

  before('add a server and call it', async function () {
    this.timeout(240_000);
    const { window, upstream } = culvert();
    await addServer(window, { label: 'Issue Tracker', url: upstream.url, secret: upstream.token });
    const id = await window.startMcp(/_echo$/);
    assert.equal((await callAndAnswer(window, { id, name: 'echo' }, { message: 'on the record' }, 'Allow once')).ok, true);
  });
  beforeEach(() => culvert().window.clearNotifications());

  it('is verified, and a document says what was looked at', async () => {
    await culvert().window.command('Culvert: Verify Audit History');
    const text = await details('The audit history holds', 'Show Details', /^Audit history, verified/);
    assert.match(text, /All of it holds\./);
    assert.match(text, /Windows that are open\n\n {2}chain-\w+: \d+ entries/);
    thumbprint = /Key of the signatures \(RFC 7638\): ([\w-]{43})/.exec(text)?.[1] ?? '';
    assert.notEqual(thumbprint, '');
  });

  it('is exported, and the script that knows nothing of Culvert verifies the file', async () => {
    const { window } = culvert();
    const file = path.join(runFolder(), 'history.jsonl');
    await window.command('Culvert: Export Audit History…');
    await window.pick('JSON Lines, signed', { title: EXPORT });
    await window.pick('Everything', { title: EXPORT });
    await chooseFile(EXPORT, file);
    await told(window, /lines of the audit history were exported to history\.jsonl/);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [path.join(PROJECT_ROOT, 'scripts/verify-audit.mjs'), file, '--key', thumbprint],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /All of it holds\./);
    const content = fs.readFileSync(file, 'utf8');
    assert.match(content, /on the record/);
    assert.ok(!content.includes(culvert().upstream.token));
    assert.equal(fs.statSync(file).mode & 0o077, 0);
  });

  it('is exported for SIEMs, too', async () => {
    const { window } = culvert();
    for (const [form, name, line] of [
      ['OCSF', 'history.ocsf.jsonl', /"class_uid":6003.*"on the record|on the record.*"class_uid":6003|"class_uid":6003/],
      ['CEF', 'history.cef', /^CEF:0\|Culvert\|Culvert\|\d+\.\d+\.\d+\|call\.ok\|tools\/call echo\|/m],
    ] as const) {
      const file = path.join(runFolder(), name);
      await window.command('Culvert: Export Audit History…');
      await window.pick(form, { title: EXPORT });
      await window.pick('Today', { title: EXPORT });
      await chooseFile(EXPORT, file);
      await told(window, new RegExp(`events of the audit history were exported to ${name.replaceAll('.', '\\.')}`));
      assert.match(fs.readFileSync(file, 'utf8'), line);
    }
  });

  it('of an export is shown for review, with the word on its signature', async () => {
    const { window } = culvert();
    await window.command('Culvert: Import Audit Export for Review…');
    await chooseFile('Import Audit Export', path.join(runFolder(), 'history.jsonl'), 'Review');
    const text = await document(/^Export of an audit history: history\.jsonl/);
    assert.match(text, /: the key of this installation\./);
    assert.match(text, /All of it holds\./);
    assert.match(text, /tools\/call echo of Issue Tracker by [^:]+: ok/);
  });

  it('makes an evidence report', async () => {
    const { window } = culvert();
    const file = path.join(runFolder(), 'evidence.html');
    await window.command('Culvert: Create Evidence Report…');
    await window.pick('HTML', { title: 'Create Evidence Report' });
    await window.pick('The last 7 days', { title: 'Create Evidence Report' });
    await chooseFile('Create Evidence Report', file);
    await told(window, 'The evidence report is in evidence.html');
    const html = fs.readFileSync(file, 'utf8');
    for (const part of ['Who could do what', 'Issue Tracker', 'What was stopped', 'all of it holds', thumbprint])
      assert.ok(html.includes(part), part);
    assert.ok(!html.includes('<script'));
  });

  it('is held and let go', async () => {
    const { window } = culvert();
    await window.command('Culvert: Place Legal Hold…');
    await window.inputBox('Case 2026-17', { title: 'Place Legal Hold' });
    await told(window, 'The audit history is held');
    await offered('Lift Legal Hold…', true);
    await window.command('Culvert: Lift Legal Hold…');
    await window.pick('Case 2026-17', { title: 'Lift Legal Hold' });
    assert.match(await window.dialog('Lift'), /Case 2026-17/);
    await told(window, 'The legal hold was lifted');
    await offered('Lift Legal Hold…', false);
  });

  describe('streamed to a receiver', () => {
    const key = noteSecret(['made', 'up', 'signing', 'key'].join('-'));
    let server: Server;
    let port: number;
    const acts: string[] = [];
    let unsigned = 0;
    let isAway = false;
    before(async () => {
      server = createServer((request, response) => {
        const parts: Buffer[] = [];
        request.on('data', (part: Buffer) => parts.push(part));
        request.on('end', () => {
          const body = Buffer.concat(parts).toString();
          if (isAway) return void response.writeHead(503).end();
          if (isSigned(key, String(request.headers['culvert-signature']), body, Date.now() / 1_000))
            for (const event of (JSON.parse(body) as { events: { act?: { act: string; detail?: string } }[] }).events)
              acts.push(`${event.act?.act ?? 'call'} ${event.act?.detail ?? ''}`.trim());
          else unsigned++;
          response.writeHead(204).end();
        });
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      port = (server.address() as AddressInfo).port;
    });
    after(() => server.close());

    it('begins when the user says so, with the secret from the keyring', async () => {
      const { window } = culvert();
      await setSetting(window, 'culvert.audit.exports', [
        { name: 'siem', kind: 'webhook', url: `http://127.0.0.1:${port}/`, secret: 'siem-key' },
      ]);
      await window.command('Culvert: Set Export Secret…');
      await window.pick('siem-key', { title: 'Set Export Secret' });
      await window.quickInputWith('lies in the system’s keyring');
      await window.inputBox(key, { title: 'Set Export Secret' });
      await told(window, 'siem-key is in the keyring');
      await window.command('Culvert: Start Streaming Export…');
      await window.pick('siem', { title: 'Start Streaming Export' });
      await window.pick('Everything on record', { title: 'Start Streaming Export' });
      const asked = await window.dialog('Start');
      for (const part of [`http://127.0.0.1:${port}`, 'Signed under the export secret siem-key']) assert.ok(asked.includes(part), asked);
      await until(async () => acts.some((act) => act.startsWith('export-changed started: webhook')), { what: 'the first delivery' });
      assert.ok(acts.includes('call'));
      assert.ok(acts.some((act) => act.startsWith('setting-changed [] →')));
      await offered('Stop Streaming Export…', true);
    });

    it('is said to be behind while the receiver is away, and catches up by itself', async () => {
      const { window } = culvert();
      await openViews(window, 'Activity');
      const behind = window.pane('Activity').getByText(/The streaming export siem is behind since .* HTTP 503/);
      isAway = true;
      await setSetting(window, 'culvert.approvalTimeoutSeconds', 50);
      await behind.waitFor();
      isAway = false;
      await until(async () => acts.includes('setting-changed 55 → 50'), { what: 'what was missed' });
      await behind.waitFor({ state: 'hidden' });
      await setSetting(window, 'culvert.approvalTimeoutSeconds', undefined);
    });

    it('ends when the user says so', async () => {
      const { window } = culvert();
      await window.command('Culvert: Stop Streaming Export…');
      await window.pick('siem', { title: 'Stop Streaming Export' });
      await told(window, 'siem was stopped');
      assert.equal(acts.at(-1), 'export-changed stopped');
      await offered('Stop Streaming Export…', false);
      assert.equal(unsigned, 0);
    });
  });

  it('that was changed is found out: which entry, and where', async () => {
    const { window } = culvert();
    const db = new DatabaseSync(databaseFile());
    const { seq, n } = db.prepare("SELECT seq, n FROM audit WHERE kind = 'intent' AND tool = 'echo'").get() ?? {};
    db.exec(`UPDATE audit SET body = replace(body, 'on the record', 'off the record') WHERE seq = ${Number(seq)}`);
    db.close();
    await window.command('Culvert: Verify Audit History');
    const text = await document(/It was changed by something other than Culvert: 1 problem/);
    assert.match(text, /1\. An entry was edited \(edited\)/);
    assert.match(text, new RegExp(`Where: chain chain-\\w+, entry ${Number(n)}, row ${Number(seq)} of the table audit`));
    assert.match(text, /It now says: tools\/call echo of Issue Tracker/);
    await told(window, /The audit history was changed: Chain chain-\w+: entry \d+ was changed/);
  });

  // Last of all: the window is gone then.
  describe('in a damaged file', () => {
    it('is refused at the start; the file is set aside, not deleted', async function () {
      this.timeout(360_000);
      const { window, profile, server, workspace } = culvert();
      const file = databaseFile();
      const host = await window.eval(() => process.pid);
      await window.close();
      await until(() => !isAlive(host), { what: 'the end of the extension host' });
      for (const end of ['-wal', '-shm']) fs.rmSync(file + end, { force: true });
      const opened = fs.openSync(file, 'r+');
      fs.writeSync(opened, Buffer.alloc(4096, 0xa5), 0, 4096, 0);
      fs.closeSync(opened);
      const damaged = fs.readFileSync(file);
      const again = await Workbench.open(profile, server, { folder: workspace });
      try {
        await told(again, /Culvert can’t start, so agents have no access through it\. .* is damaged\./);
        assert.deepEqual(fs.readFileSync(file), damaged);
        await again.command('Culvert: Set Damaged Database Aside…');
        assert.match(await again.dialog('Start Over'), /are kept in .*culvert\.db\.aside-/);
        await again.statusBarItem(/Culvert/).waitFor();
        const aside = fs.readdirSync(path.dirname(file)).filter((name) => name.startsWith('culvert.db.aside-') && name.endsWith('Z'));
        assert.equal(aside.length, 1);
        assert.deepEqual(fs.readFileSync(path.join(path.dirname(file), aside[0] ?? '')), damaged);
        await again.command('Culvert: Verify Audit History');
        await told(again, 'The audit history holds');
      } finally {
        await again.close();
      }
    });
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
