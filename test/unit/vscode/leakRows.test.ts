import assert from 'node:assert/strict';
import { FindingLog } from '../../../src/inspection/findingLog.ts';
import type { Finding } from '../../../src/mcp/finding.ts';
import { LeakRows, idOfLeakRow, type LeakRow } from '../../../src/vscode/views/leakRows.ts';
import { ShownRows } from '../../../src/vscode/views/shownRows.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';

describe('the rows of Leak Warnings', () => {
  let bench: Bench;
  let clock: ManualClock;
  let log: FindingLog;
  let rows: LeakRows;
  let shown: ShownRows<LeakRow>;

  const find = (subject: string, server: string, severity: Finding['severity'] = 'high') => {
    clock.advance(1_000);
    const finding: Finding = { rule: 'known', severity, subject, direction: 'to-agent', form: 'as is', action: 'redacted' };
    log.add([finding], { server, tool: 'look', exchange: `x-${subject}` });
  };
  const labelOf = (row: LeakRow) => (row.kind === 'group' ? row.label : row.finding.subject);
  const outline = (above?: LeakRow): unknown[] =>
    rows.below(above).map((row) => (row.kind === 'group' ? [row.label, row.count, ...outline(row)] : labelOf(row)));
  const draw = (above?: LeakRow): void => {
    const below = rows.below(above);
    shown.asked(below, above);
    for (const row of below) {
      shown.drawn(row);
      draw(row);
    }
  };
  /** Reads anew, and returns the labels of what is drawn again. */
  const redrawn = () => {
    rows.read();
    const changes = shown.changes()?.map(labelOf);
    draw();
    return changes;
  };
  const idOf = (subject: string) =>
    [...log.list({ dismissed: false }), ...log.list({ dismissed: true })].find((f) => f.subject === subject)?.id ?? '';

  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock();
    log = new FindingLog(bench.window(), clock);
    rows = new LeakRows({ findings: log, labelOf: (server) => (server === '' ? 'This machine' : server.toUpperCase()) });
    shown = new ShownRows<LeakRow>({
      idOf: idOfLeakRow,
      looksOf: (row) => JSON.stringify(row.kind === 'group' ? [row.label, row.count] : row.finding),
      rowsBelow: (row) => rows.below(row),
    });
    find('key', 'wiki');
    find('token', 'wiki');
    find('password', 'shop');
    find('guess', 'shop', 'low');
    rows.read();
    draw();
  });
  afterEach(() => {
    log.dispose();
    bench.close();
  });

  it('go by severity and server, the newest first, with those dismissed at the end', () => {
    log.setDismissed(idOf('key'), true);
    rows.read();
    assert.deepEqual(outline(), [
      ['High', 2, ['SHOP', 1, 'password'], ['WIKI', 1, 'token']],
      ['Low', 1, ['SHOP', 1, 'guess']],
      ['Dismissed', 1, 'key'],
    ]);
  });

  it('are drawn again alone when they are read, and where the same is found once more', () => {
    assert.deepEqual(redrawn(), []);
    log.markRead([idOf('token')]);
    assert.deepEqual(redrawn(), ['token']);
    find('guess', 'shop', 'low');
    assert.deepEqual(redrawn(), ['guess']);
    log.markRead();
    assert.deepEqual(redrawn()?.sort(), ['guess', 'key', 'password']);
  });

  it('of other severities stay when one comes or is dismissed', () => {
    find('another guess', 'wiki', 'low');
    assert.deepEqual(redrawn(), ['Low']);
    log.setDismissed(idOf('token'), true);
    assert.equal(redrawn(), undefined, 'the heading of those dismissed is new');
    log.setDismissed(idOf('key'), true);
    assert.deepEqual(redrawn(), ['High', 'Dismissed']);
    log.setDismissed(idOf('key'), false);
    assert.deepEqual(redrawn(), ['High', 'Dismissed']);
  });

  it('are the same objects as long as they are listed', () => {
    const all = (above?: LeakRow): LeakRow[] => rows.below(above).flatMap((row) => [row, ...all(row)]);
    const before = all();
    find('password', 'shop');
    rows.read();
    assert.deepEqual(new Set(all()), new Set(before));
    assert.ok(all().every((row) => before.includes(row)));
  });
});
