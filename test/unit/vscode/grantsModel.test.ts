import assert from 'node:assert/strict';
import { Access } from '../../../src/authorization/access.ts';
import { explain } from '../../../src/authorization/explain.ts';
import type { NewGrant } from '../../../src/authorization/grantChanges.ts';
import { ToolCatalog } from '../../../src/integrity/toolCatalog.ts';
import { Generations } from '../../../src/store/generations.ts';
import type { Server } from '../../../src/mcp/server.ts';
import { GrantsModel, type GrantRow } from '../../../src/vscode/views/grantsModel.ts';
import { Bench, nextTurn } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { effort } from '../../support/effort.ts';

const principal = { client: 'vscode', window: 'win-1', workspace: 'ws-1', workspaceName: 'shop' } as const;
const server = (id: string, label: string): Server => ({
  version: 1,
  id,
  label,
  upstream: { kind: 'http', url: 'https://api.example.com/mcp' },
  credentials: [],
  createdAt: 0,
});

describe('the rows of Grants', () => {
  let bench: Bench;
  let clock: ManualClock;
  let access: Access;
  let catalog: ToolCatalog;
  let servers: Server[];
  let model: GrantsModel;
  let branch: string | undefined;

  const observe = (id: string, names: readonly string[]) =>
    catalog.observe(
      id,
      names.map((name) => ({
        name,
        definition: JSON.stringify({ name, inputSchema: { type: 'object' }, annotations: { readOnlyHint: name.startsWith('get') } }),
      })),
    );
  const give = (grant: Partial<NewGrant> & { readonly names?: readonly string[] }) => {
    const { names = ['echo'], ...rest } = grant;
    return access.give({ server: 'srv-1', target: { kind: 'tools', names }, effect: 'allow', scope: {}, givenBy: 'tree', ...rest });
  };
  const rowOf = (label: string, above?: GrantRow): GrantRow => {
    const row = model.children(above).find((r) => model.look(r)?.label === label);
    assert.ok(row, `no row ${label}`);
    return row;
  };
  const tool = (name: string) => {
    model.refresh();
    const look = model.look(rowOf(name, rowOf('GitHub')));
    assert.ok(look);
    return look;
  };

  beforeEach(() => {
    bench = new Bench();
    branch = undefined;
    clock = new ManualClock();
    const db = bench.window();
    access = new Access(db, bench.key, new Generations(), clock);
    catalog = new ToolCatalog(db, bench.key, new Generations(), clock);
    servers = [server('srv-1', 'GitHub')];
    observe('srv-1', ['echo', 'get_issue', 'create_issue']);
    model = new GrantsModel({
      servers: { list: () => servers, get: (id) => servers.find((s) => s.id === id) },
      access,
      catalog,
      credentials: { get: () => undefined },
      caller: () => ({ ...principal, branch }),
      now: () => clock.now(),
      warning: () => undefined,
    });
  });
  afterEach(() => bench.close());

  it('are servers, their tools, resources and prompts, and the grants below', () => {
    access.start('srv-1', 'ask', 'wizard');
    give({});
    const top = rowOf('GitHub');
    const labels = model.children(top).map((row) => model.look(row)?.label);
    assert.deepEqual(labels, ['create_issue', 'echo', 'get_issue', 'Resources', 'Prompts', 'For the whole server']);
    assert.deepEqual(
      model.children(rowOf('echo', top)).map((row) => model.look(row)?.label),
      ['Allow'],
    );
    assert.deepEqual(
      model.children(rowOf('For the whole server', top)).map((row) => model.look(row)?.label),
      ['Ask all tools', 'Allow completion'],
    );
    assert.deepEqual([tool('create_issue').folded, tool('echo').folded], ['leaf', 'folded']);
  });

  it('tell how access stands, with a mark where something asks or is denied', () => {
    access.start('srv-1', 'ask', 'wizard');
    const end = clock.now() + 15 * 60_000;
    give({ expiresAt: end });
    give({ names: ['create_issue'], conditions: [{ test: 'equals', at: '/owner', value: 'acme' }], uses: 3 });
    access.set('srv-1', { kind: 'tools', names: ['get_issue'] }, 'deny', 'tree');
    assert.deepEqual([tool('echo').description, tool('echo').ticked, tool('echo').badge], ['allowed, 15 min left', true, undefined]);
    assert.deepEqual(
      [tool('create_issue').description, tool('create_issue').badge],
      ['asks, except where owner is “acme”, 3 uses left', 'asks'],
    );
    assert.deepEqual([tool('get_issue').description, tool('get_issue').ticked, tool('get_issue').badge], ['denied', false, 'denied']);
    assert.match(tool('get_issue').spoken, /^get_issue of GitHub, denied, says that it only reads$/);
    const row = rowOf('create_issue', rowOf('GitHub'));
    const [grant] = model.children(row);
    assert.ok(grant);
    assert.deepEqual(
      [model.look(grant)?.label, model.look(grant)?.description],
      ['Allow where owner is “acme”, at most 3 times', '3 of 3 uses left'],
    );
  });

  it('are ticked where something is reachable, even if only under conditions', () => {
    assert.deepEqual([tool('echo').description, tool('echo').ticked], ['no access', false]);
    give({ conditions: [{ test: 'equals', at: '/owner', value: 'acme' }] });
    assert.deepEqual(
      [tool('echo').description, tool('echo').ticked, tool('echo').badge],
      ['allowed where owner is “acme”', true, 'partly'],
    );
  });

  it('of servers count what is below, and are ticked only if all of it is', () => {
    const top = () => {
      model.refresh();
      return model.look(rowOf('GitHub'));
    };
    assert.deepEqual([top()?.description, top()?.ticked], ['no access', false]);
    give({});
    assert.deepEqual([top()?.description, top()?.ticked], ['1 of 3 allowed', false]);
    assert.match(top()?.spoken ?? '', /, partly ticked$/);
    access.setAll(
      'srv-1',
      model
        .switches('srv-1')
        .filter((s) => s.effect === 'deny')
        .map((s) => s.target),
      'allow',
      'tree',
    );
    assert.deepEqual([top()?.description, top()?.ticked], ['all 3 allowed', true]);
    access.set('srv-1', { kind: 'prompts' }, 'deny', 'tree');
    assert.equal(top()?.ticked, false);
    access.setPaused(true);
    assert.equal(top()?.description, 'paused');
  });

  it('count down, and say when they read differently next', () => {
    assert.equal(model.nextChange(), undefined);
    give({ expiresAt: clock.now() + 61_500 });
    model.refresh();
    assert.equal(model.nextChange(), 1_500);
    clock.advance(1_500);
    assert.equal(tool('echo').description, 'allowed, 60 s left');
    clock.advance(55_000);
    assert.equal(tool('echo').description, 'allowed, 5 s left');
    clock.advance(5_000);
    assert.equal(tool('echo').description, 'no access');
    assert.equal(model.nextChange(), undefined);
  });

  it('show what belongs to a task as long as it runs', () => {
    const task = access.startTask({ name: 'release', servers: ['srv-1'], durationMs: 30 * 60_000 }, []);
    give({});
    assert.equal(tool('echo').description, 'allowed for the task, 30 min left');
    const [grant] = model.children(rowOf('echo', rowOf('GitHub')));
    assert.ok(grant);
    assert.deepEqual(
      [model.look(grant)?.label, model.look(grant)?.description],
      ['Allow, until the task ends', 'task “release”, 30 min left'],
    );
    access.endTask(task.id);
    assert.equal(tool('echo').description, 'no access');
    assert.deepEqual(model.children(rowOf('echo', rowOf('GitHub'))), []);
  });

  it('show what is allowed on a git branch only there, with a mark, and say elsewhere that another one is checked out', () => {
    access.start('srv-1', 'ask', 'wizard');
    branch = 'feature/search';
    give({ scope: { workspace: 'ws-1', workspaceName: 'shop', branch } });
    const grantBelow = () => {
      model.refresh();
      const [grant] = model.children(rowOf('echo', rowOf('GitHub')));
      return grant && model.look(grant);
    };
    const seen = () => [tool('echo').description, tool('echo').badge, tool('echo').context, grantBelow()?.icon, grantBelow()?.description];
    const why = () => explain(model.ruling(rowOf('echo', rowOf('GitHub'))) ?? assert.fail()).join('\n');
    assert.deepEqual(seen(), ['allowed on branch feature/search', 'branch', 'tool.allow', 'check', '']);
    assert.match(why(), /^The tool “echo” of GitHub is allowed in shop on branch feature\/search\./);
    assert.equal(model.look(rowOf('GitHub'))?.description, '1 of 3 allowed, 2 ask');
    for (branch of ['main', undefined]) {
      assert.deepEqual(seen(), ['asks', 'asks', 'tool.ask', 'circle-outline', 'not on the branch that is checked out']);
      assert.match(why(), /Nearly: allow echo in shop on branch feature\/search — another git branch is checked out\./);
      assert.equal(model.look(rowOf('GitHub'))?.description, 'all 3 ask');
    }
    branch = 'feature/search';
    assert.equal(tool('echo').badge, 'branch');
    // What is denied on a branch is denied there, too.
    access.revokeServer('srv-1');
    give({ effect: 'deny', scope: { branch } });
    assert.deepEqual(seen().slice(0, 3), ['denied on branch feature/search', 'denied', 'tool.deny']);
    branch = 'main';
    assert.deepEqual([tool('echo').description, tool('echo').badge], ['no access', undefined]);
  });

  it('look up the branch once for all rows', () => {
    let lookups = 0;
    model = new GrantsModel({
      servers: { list: () => servers, get: (id) => servers.find((s) => s.id === id) },
      access,
      catalog,
      credentials: { get: () => undefined },
      caller: () => {
        lookups++;
        return { ...principal, branch: 'main' };
      },
      now: () => clock.now(),
      warning: () => undefined,
    });
    give({ scope: { branch: 'main' } });
    model.refresh();
    lookups = 0;
    model.refresh();
    for (const row of model.children(rowOf('GitHub'))) model.look(row);
    assert.equal(lookups, 1);
  });

  it('are the same objects as long as they exist', () => {
    give({});
    const before = model.children(model.children()[0]);
    model.refresh();
    assert.ok(model.children(model.children()[0]).every((row, i) => row === before[i]));
  });

  it('undo: what a server had comes back, but no counted use', () => {
    access.start('srv-1', 'ask', 'wizard');
    give({});
    give({ names: ['create_issue'], uses: 2 });
    const before = access.forServer('srv-1');
    access.revokeServer('srv-1');
    access.restore('srv-1', before);
    const ids = (grants: readonly { readonly id: string }[]) => grants.map((g) => g.id).sort();
    assert.deepEqual(ids(access.forServer('srv-1')), ids(before.filter((g) => g.uses === undefined)));
  });

  it('stay fluid with a thousand tools over fifty servers and a thousand grants', async () => {
    servers = Array.from({ length: 50 }, (_, s) => server(`load-${s}`, `Server ${String(s).padStart(2, '0')}`));
    for (const { id } of servers) {
      observe(
        id,
        Array.from({ length: 20 }, (_, t) => `tool_${t}`),
      );
      access.setAll(
        id,
        Array.from({ length: 20 }, (_, t) => ({ kind: 'tools' as const, names: [`tool_${t}`] })),
        'allow',
        'tree',
      );
    }
    await nextTurn();
    const everything = (): number => {
      let rows = 0;
      const walk = (row?: GrantRow): void => {
        for (const child of model.children(row)) {
          assert.ok(model.look(child));
          rows++;
          walk(child);
        }
      };
      walk();
      return rows;
    };
    assert.equal(everything(), 50 * (1 + 20 * 2 + 2));
    const lazy = effort(() => {
      model.refresh();
      model.children();
    }, 5);
    const one = effort(() => {
      model.refresh();
      for (const row of model.children(model.children()[0])) model.look(row);
    }, 10);
    const all = effort(() => {
      model.refresh();
      everything();
    }, 100);
    // Folded up, nothing is decided at all; a server that is opened, and all of them, take some turns of the event loop at most.
    assert.ok(lazy < 5, `the servers took ${lazy} ms`);
    assert.ok(one < 10, `one server took ${one} ms`);
    assert.ok(all < 100, `everything took ${all} ms`);
  });
});
