/** A past for pictures and for tests that need one: entries written beside Culvert, in a chain of their own. */
import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { entryHash } from '../../src/audit/chain.ts';
import type { Intent, Outcome } from '../../src/audit/record.ts';
import type { Culvert } from '../harness/openCulvert.ts';

const HOUR_MS = 3_600_000;
/** Calls of an hour of the day, on a working day: a quiet night and two peaks. */
const RHYTHM = [0, 0, 0, 0, 0, 1, 2, 5, 12, 20, 24, 18, 8, 14, 22, 26, 20, 12, 6, 3, 2, 1, 0, 0];

interface PastTool {
  readonly tool: string;
  readonly server: string;
  readonly serverLabel: string;
  /** How often it is called beside the others. */
  readonly weight: number;
  readonly ms: number;
}
const TOOLS: readonly PastTool[] = [
  { tool: 'search_issues', server: 'past-tracker', serverLabel: 'Issue Tracker', weight: 9, ms: 120 },
  { tool: 'get_issue', server: 'past-tracker', serverLabel: 'Issue Tracker', weight: 7, ms: 60 },
  { tool: 'add_comment', server: 'past-tracker', serverLabel: 'Issue Tracker', weight: 3, ms: 180 },
  { tool: 'close_issue', server: 'past-tracker', serverLabel: 'Issue Tracker', weight: 1, ms: 150 },
  { tool: 'read_file', server: 'past-files', serverLabel: 'Files', weight: 8, ms: 4 },
  { tool: 'list_directory', server: 'past-files', serverLabel: 'Files', weight: 4, ms: 3 },
  { tool: 'query', server: 'past-warehouse', serverLabel: 'Warehouse', weight: 3, ms: 2_400 },
  { tool: 'describe_table', server: 'past-warehouse', serverLabel: 'Warehouse', weight: 2, ms: 300 },
];

/** Writes some days of calls up to an hour ago; returns how many. The same every time but for the times. */
export function writeHistory({ server }: Culvert, days: number): number {
  const db = new DatabaseSync(databaseOf(server.runFolder), { timeout: 5_000 });
  let seed = 11;
  // The low bits of such a generator repeat soon.
  const random = (below: number) => Math.floor((seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 10) % below;
  const bag = TOOLS.flatMap((tool) => Array.from({ length: tool.weight }, () => tool));
  const insert = db.prepare(
    'INSERT INTO audit (chain, n, at, kind, exchange, server, tool, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
  );
  let [n, head, written] = [0, '', 0];
  const write = (at: number, kind: 'intent' | 'outcome', exchange: string, of: PastTool, body: Intent | Outcome) => {
    const text = JSON.stringify(body);
    head = entryHash(head, 'chain-past', ++n, at, kind, exchange, text);
    insert.run('chain-past', n, at, kind, exchange, kind === 'intent' ? of.server : null, kind === 'intent' ? of.tool : null, text, head);
  };
  db.exec('BEGIN IMMEDIATE');
  const end = Date.now() - HOUR_MS;
  for (let hour = end - days * 24 * HOUR_MS; hour < end; hour += HOUR_MS) {
    const date = new Date(hour);
    const weekend = date.getDay() === 0 || date.getDay() === 6;
    const calls = Math.round(((RHYTHM[date.getHours()] ?? 0) * (weekend ? 0.2 : 1) * (60 + random(60))) / 100);
    for (let i = 0; i < calls; i++) {
      const of = bag[random(bag.length)] as PastTool;
      const denied = of.tool === 'close_issue' ? random(2) === 0 : random(40) === 0;
      const failed = !denied && random(of.server === 'past-warehouse' ? 8 : 60) === 0;
      const findings = !denied && random(90) === 0 ? 1 : 0;
      const exchange = `past-${written++}`;
      const at = Math.round(hour + (i / calls) * HOUR_MS);
      const ms = Math.round(of.ms * (0.4 + random(200) / 100) * 10) / 10;
      write(at, 'intent', exchange, of, {
        v: 2,
        client: random(3) === 0 ? 'vscode' : 'agent',
        window: 'win-past',
        claims: { clientName: random(3) === 0 ? 'Codex' : 'Claude Code', conversationId: `talk-${Math.floor(written / 25)}` },
        server: of.server,
        serverLabel: of.serverLabel,
        origin: 'https://api.example.com',
        era: 'modern',
        method: 'tools/call',
        tool: of.tool,
        effect: denied ? 'deny' : 'allow',
        decidedBy: denied ? 'refused' : 'grant-past',
        reason: denied ? 'The user said no.' : 'You allowed it.',
        credentials: [`${of.serverLabel} credential (revision 1)`],
        requestBytes: 300,
      });
      write(Math.round(at + ms), 'outcome', exchange, of, {
        v: 2,
        result: denied ? 'denied' : failed ? (random(2) === 0 ? 'tool-error' : 'upstream-error') : 'ok',
        responseBytes: 1_500,
        findings,
        ...(findings > 0
          ? { found: [{ rule: ['github-token', 'hidden-text', 'known-secret'][random(3)] as string, action: 'redacted' }] }
          : {}),
        totalMs: denied ? 0.4 : ms,
        decisionMs: 0.3,
      });
    }
  }
  db.exec('COMMIT');
  db.close();
  return written;
}

/** Writes so many entries into a chain that no window began: what takes a while to be read, and is found. */
export function writeForeignChain({ server }: Culvert, count: number): void {
  const db = new DatabaseSync(databaseOf(server.runFolder), { timeout: 5_000 });
  const insert = db.prepare("INSERT INTO audit (chain, n, at, kind, body, hash) VALUES ('chain-foreign', ?, ?, 'act', ?, ?)");
  const body = JSON.stringify({ v: 2, act: 'setting-changed', detail: 'x'.repeat(200), window: 'win-foreign' });
  const at = Date.now() - HOUR_MS;
  let head = '';
  // A window that wants to write meanwhile waits for some milliseconds only.
  for (let n = 1; n <= count;) {
    db.exec('BEGIN IMMEDIATE');
    for (const end = Math.min(count, n + 9_999); n <= end; n++) {
      head = entryHash(head, 'chain-foreign', n, at, 'act', null, body);
      insert.run(n, at, body, head);
    }
    db.exec('COMMIT');
  }
  db.close();
}

/** Details of the acts of this kind on the record, oldest first. */
export function actsOn({ server }: Culvert, act: string): string[] {
  const db = new DatabaseSync(databaseOf(server.runFolder), { readOnly: true });
  const rows = db.prepare("SELECT body ->> 'detail' AS detail FROM audit WHERE kind = 'act' AND body ->> 'act' = ? ORDER BY seq").all(act);
  db.close();
  return rows.map(({ detail }) => String(detail));
}

function databaseOf(folder: string): string {
  const found = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((file) => path.basename(file) === 'culvert.db');
  if (found === undefined) throw new Error('There is no database yet.');
  return path.join(folder, found);
}
