/**
 * Installed beside Culvert in UI tests only. Lets a test process outside VS Code run code inside the extension host of a window:
 * `POST / {"fn": "(vscode, arg) => …", "arg": …}` answers `{"ok": true, "value": …}` or `{"ok": false, "error": "…"}`. Each window announces
 * its port and token in `$CULVERT_TEST_COMPANIONS/<pid>.json`; without that variable nothing happens. Also holds the scripted chat model.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import * as vscode from 'vscode';
import { ScriptedModel } from './scriptedModel.ts';
import { TestSessions } from './testSessions.ts';

/** The content of a window's announcement. */
export interface Announcement {
  readonly pid: number;
  readonly port: number;
  readonly token: string;
}

/** Called by VS Code. Returns the scripted model, for tests that look at what it was asked. */
export function activate(context: vscode.ExtensionContext): { readonly model: ScriptedModel } | undefined {
  const folder = process.env['CULVERT_TEST_COMPANIONS'];
  if (!folder) return undefined;
  const model = new ScriptedModel();
  context.subscriptions.push(vscode.lm.registerLanguageModelChatProvider('scripted', model), new TestSessions());

  const token = randomBytes(16).toString('hex');
  const file = path.join(folder, `${process.pid}.json`);
  const server = http.createServer((request, response) => {
    if (request.headers['x-token'] !== token) {
      response.writeHead(403).end();
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      void answer(Buffer.concat(chunks).toString()).then((text) => {
        response.writeHead(200, { 'content-type': 'application/json' }).end(text);
      });
    });
  });
  server.listen(0, '127.0.0.1', () => {
    const announcement: Announcement = { pid: process.pid, port: (server.address() as AddressInfo).port, token };
    // Renamed into place, so that nobody reads half of it.
    fs.writeFileSync(`${file}.new`, JSON.stringify(announcement), { mode: 0o600 });
    fs.renameSync(`${file}.new`, file);
  });
  context.subscriptions.push({
    dispose: () => {
      server.close();
      fs.rmSync(file, { force: true });
    },
  });
  return { model };
}

async function answer(body: string): Promise<string> {
  try {
    const { fn, arg } = JSON.parse(body) as { fn: string; arg: unknown };
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- running what the test sends is its purpose
    const make = new Function('require', `return (${fn})`) as (require: NodeJS.Require) => (api: typeof vscode, arg: unknown) => unknown;
    return JSON.stringify({ ok: true, value: await make(require)(vscode, arg) });
  } catch (error) {
    return JSON.stringify({ ok: false, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}
