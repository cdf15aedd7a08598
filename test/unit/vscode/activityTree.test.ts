import assert from 'node:assert/strict';
import { ActivityIndex } from '../../../src/audit/activityIndex.ts';
import { AuditLog } from '../../../src/audit/auditLog.ts';
import { Checkpoints } from '../../../src/audit/checkpoints.ts';
import type { Intent, Outcome } from '../../../src/audit/record.ts';
import type { ActivityRow } from '../../../src/vscode/views/activityRows.ts';
import { ActivityTree, DAYS, PAGE } from '../../../src/vscode/views/activityTree.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { intent, outcome } from '../audit/samples.ts';

const DAY_MS = 24 * 3_600_000;

describe('ActivityTree', () => {
  let bench: Bench;
  let clock: ManualClock;
  let log: AuditLog;
  let index: ActivityIndex;
  let tree: ActivityTree;
  let last = 0;
  const call = async (of: Partial<Intent> = {}, end?: Partial<Outcome> | 'open') => {
    const id = `x-${++last}`;
    await log.open(id, { ...intent, ...of });
    if (end !== 'open') log.close(id, { ...outcome, ...end });
    log.flush();
    return id;
  };
  const claims = (conversationId: string, clientName = 'Claude Code') => ({ claims: { clientName, conversationId } });
  const outline = async (row?: ActivityRow, depth = 3): Promise<unknown[]> => {
    const rows = await tree.children(row);
    return Promise.all(
      rows.map(async (r) =>
        depth > 1 && (r.kind === 'day' || r.kind === 'conversation') ? [r.face.label, ...(await outline(r, depth - 1))] : r.face.label,
      ),
    );
  };
  const find = async (label: string, row?: ActivityRow): Promise<ActivityRow> => {
    for (const r of await tree.children(row)) {
      if (r.face.label === label) return r;
      if (r.kind === 'day' || r.kind === 'conversation') {
        const below = await find(label, r).catch(() => undefined);
        if (below) return below;
      }
    }
    throw new Error(`no row ${label}`);
  };

  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock(new Date(2026, 5, 10, 9, 30).getTime());
    const db = bench.window();
    log = new AuditLog(db, clock, new Checkpoints(db, { get: async () => undefined, set: async () => undefined }, clock));
    index = new ActivityIndex(db, log);
    tree = new ActivityTree(index, () => clock.now());
    tree.filter = {};
    last = 0;
  });
  afterEach(() => {
    index.dispose();
    bench.close();
  });

  it('groups by day, agent and conversation, newest first', async () => {
    await call({ ...claims('c1'), tool: 'a' });
    await call({ ...claims('c1'), tool: 'b', effect: 'deny' }, { result: 'denied' });
    clock.setWallClock(clock.now() + DAY_MS);
    await call({ ...claims('c2'), tool: 'c' });
    await call({ client: 'vscode', tool: 'd' });
    await call({ client: 'vscode', method: 'tools/list', ...({ tool: undefined } as object) });
    clock.setWallClock(clock.now() + 60_000);
    await call({ ...claims('c2'), tool: 'e' });
    assert.deepEqual(await outline(), [
      ['Today', ['Claude Code', 'e', 'c'], ['VS Code', 'd']],
      ['Yesterday', ['Claude Code', 'b', 'a']],
    ]);
    const yesterday = await find('Yesterday');
    assert.equal(yesterday.face.description, '2 calls · 1 denied');
    assert.equal(yesterday.face.expanded, false);
    const [conversation] = await tree.children(yesterday);
    assert.match(conversation?.face.description ?? '', /^c1 · 2 calls · 1 denied · \d/);
    assert.match((await find('b')).face.description, /^denied · GitHub · \d/);
  });

  it('leaves the middle out of the addresses of resources, so that their ends can be told apart', async () => {
    for (const name of ['architecture', 'extension'])
      await call({ method: 'resources/read', tool: `demo://resource/static/document/${name}.md` });
    await call({ tool: 'a_tool_with_a_name_that_is_longer_than_that' });
    assert.deepEqual(await outline(), [
      [
        'Today',
        [
          'Agent without a name',
          'a_tool_with_a_name_that_is_longer_than_that',
          'demo://resource/…nt/extension.md',
          'demo://resource/…architecture.md',
        ],
      ],
    ]);
  });

  it('shows only what the filter means', async () => {
    await call({ tool: 'a' });
    await call({ tool: 'b', server: 'srv-2' }, { findings: 1 });
    tree.filter = { server: 'srv-2' };
    assert.deepEqual(await outline(undefined, 3), [['Today', ['Agent without a name', 'b']]]);
    tree.filter = { findings: true };
    assert.deepEqual((await find('b')).face.icon, 'shield');
    tree.filter = { tool: 'none' };
    assert.deepEqual(await outline(), []);
    assert.equal(tree.isEmpty(), true);
  });

  it('finds a text and groups what it found', async () => {
    await call({ ...claims('c1'), tool: 'a', arguments: '{"q":"Needle 1"}' });
    clock.setWallClock(clock.now() + DAY_MS);
    await call({ ...claims('c1'), tool: 'b', arguments: '{"q":"hay"}' });
    await call({ ...claims('c2'), tool: 'c', arguments: '{"q":"needle 2"}' });
    tree.filter = { text: 'needle' };
    assert.deepEqual(await outline(), [
      ['Today', ['Claude Code', 'c']],
      ['Yesterday', ['Claude Code', 'a']],
    ]);
    const before = await find('c');
    await call({ ...claims('c2'), tool: 'd', reason: 'NEEDLE' });
    assert.notDeepEqual(await tree.refresh(), []);
    assert.deepEqual(await outline(), [
      ['Today', ['Claude Code', 'd', 'c']],
      ['Yesterday', ['Claude Code', 'a']],
    ]);
    assert.equal(await find('c'), before);
  });

  it('loads calls and days page by page', async () => {
    for (let i = 0; i < PAGE + 20; i++) await call({ ...claims('long'), tool: `t${i}` });
    for (let day = 0; day < DAYS + 2; day++) {
      clock.setWallClock(clock.now() + DAY_MS);
      await call({ tool: 'x' });
    }
    assert.equal((await tree.children()).length, DAYS + 1);
    const more = await find('Load more');
    assert.equal(more.kind === 'more' && (await tree.more(more)), undefined);
    const days = await tree.children();
    assert.deepEqual([days.length, days.some(({ kind }) => kind === 'more')], [DAYS + 3, false]);
    const conversation = await find('Claude Code');
    const calls = await tree.children(conversation);
    assert.equal(calls.length, PAGE + 1);
    const rest = calls.at(-1);
    assert.ok(rest?.kind === 'more');
    assert.equal(await tree.more(rest), conversation);
    const all = await tree.children(conversation);
    assert.deepEqual(
      all.map(({ face }) => face.label),
      Array.from({ length: PAGE + 20 }, (_, i) => `t${PAGE + 19 - i}`),
    );
    assert.deepEqual(all.slice(0, PAGE), calls.slice(0, PAGE));
  });

  it('says which rows look different, and no others', async () => {
    await call({ ...claims('c1'), tool: 'a' });
    clock.setWallClock(clock.now() + 1);
    const running = await call({ ...claims('c2'), tool: 'b' }, 'open');
    await outline();
    assert.deepEqual(await tree.refresh(), []);
    const rows = [await find('a'), await find('b')];
    const day = await find('Today');
    log.close(running, outcome);
    log.flush();
    assert.deepEqual(await tree.refresh(), [rows[1]]);
    assert.match(rows[1]?.face.description ?? '', /^ok · /);
    await call({ ...claims('c2'), tool: 'c' });
    const [conversation] = await tree.children(day);
    assert.deepEqual(await tree.refresh(), [conversation]);
    await outline();
    assert.deepEqual(await outline(), [['Today', ['Claude Code', 'c', 'b'], ['Claude Code', 'a']]]);
    assert.deepEqual([await find('a'), await find('b')], rows);
    clock.setWallClock(clock.now() + DAY_MS);
    await call({ ...claims('c2'), tool: 'd' });
    assert.deepEqual(await tree.refresh(), [undefined]);
    assert.deepEqual(
      (await tree.children()).map(({ face }) => face.label),
      ['Today', 'Yesterday'],
    );
    assert.equal((await tree.children())[1], day);
  });

  it('leaves the rows of other conversations alone while calls come: what a day counts follows when there is time', async () => {
    await call({ ...claims('c1'), tool: 'a' });
    clock.setWallClock(clock.now() + 1);
    await call({ ...claims('c2'), tool: 'b' });
    await outline();
    const day = await find('Today');
    const [newer, older] = await tree.children(day);
    assert.deepEqual([await tree.refresh(), tree.isLate], [[], false]);
    await call({ ...claims('c2'), tool: 'c' });
    assert.deepEqual(await tree.refresh(), [newer]);
    await call({ ...claims('c2'), tool: 'd', effect: 'deny' }, { result: 'denied' });
    assert.deepEqual(await tree.refresh(), [newer]);
    assert.equal(tree.isLate, true);
    assert.deepEqual(tree.takeLate(), [day]);
    assert.equal(day.face.description, '4 calls · 1 denied');
    assert.deepEqual([tree.isLate, tree.takeLate()], [false, []]);
    // What moves up, or is new, changes the rows of the day itself.
    clock.setWallClock(clock.now() + 1);
    await call({ ...claims('c1'), tool: 'e' });
    assert.deepEqual(await tree.refresh(), [day]);
    assert.deepEqual(await tree.children(day), [older, newer]);
    assert.equal(tree.isLate, false);
    // Nothing is below a folded day that could be forgotten.
    tree.fold(day);
    await call({ ...claims('c1'), tool: 'f' });
    assert.deepEqual([await tree.refresh(), tree.isLate], [[day], false]);
  });

  it('puts off what a conversation counts where none of its calls came or went', async () => {
    const running = await call({ ...claims('c1'), tool: 'a' }, 'open');
    await outline();
    const day = await find('Today');
    const [conversation] = await tree.children(day);
    assert.ok(conversation);
    const row = await find('a');
    log.close(running, { ...outcome, findings: 1 });
    log.flush();
    assert.deepEqual(await tree.refresh(), [row]);
    assert.match(conversation.face.description, /1 with findings/);
    assert.deepEqual(tree.takeLate(), [day], 'the day stands for its conversation');
  });

  it('shows past days that came up later, all of them', async () => {
    await call({ tool: 'now' });
    await tree.children();
    const now = clock.now();
    for (const days of [5, 3, 1]) {
      clock.setWallClock(now - days * DAY_MS);
      await call({ tool: `${days} days ago` });
    }
    clock.setWallClock(now);
    const [today] = await tree.children();
    assert.deepEqual(await tree.refresh(), [undefined]);
    const days = await tree.children();
    assert.deepEqual(
      days.map((row) => row.kind === 'day' && Math.round((now - row.from) / DAY_MS)),
      [0, 1, 3, 5],
    );
    assert.equal(days[0], today);
  });

  it('lets go of what is folded, and does not grow with live calls', async () => {
    const newest = claims('c1');
    for (let i = 0; i < PAGE; i++) await call({ ...newest, tool: `t${i}` });
    const conversation = await find('Claude Code');
    assert.equal((await tree.children(conversation)).length, PAGE);
    for (let i = 0; i < 30; i++) await call({ ...newest, tool: `u${i}` });
    await tree.refresh();
    const window = await tree.children(conversation);
    assert.deepEqual([window.length, window[0]?.face.label, window.at(-1)?.kind], [PAGE + 1, 'u29', 'more']);
    for (let i = 0; i < PAGE + 50; i++) await call({ ...newest, tool: `v${i}` });
    await tree.refresh();
    const jumped = await tree.children(conversation);
    assert.deepEqual([jumped.length, jumped[0]?.face.label, jumped[PAGE - 1]?.face.label], [PAGE + 1, `v${PAGE + 49}`, 'v50']);
    tree.fold(conversation);
    await call({ ...newest, tool: 'w' });
    const read: unknown[] = [];
    const calls = index.calls.bind(index);
    index.calls = (...args) => {
      read.push(args);
      return calls(...args);
    };
    await tree.refresh();
    assert.deepEqual(read, []);
    assert.equal((await tree.children(conversation))[0]?.face.label, 'w');
  });
});
