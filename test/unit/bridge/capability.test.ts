import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { answers, findCapabilities, isId, type Capability } from '../../../src/bridge/capability.ts';
import { CAPABILITY_FOLDER, type CapabilityFile } from '../../../src/common/capabilityFile.ts';
import { FakeWindow, RuntimeFolder, SERVER } from './fakeWindow.ts';

const TOKEN = 'A'.repeat(43);
const { uid } = userInfo();
const file = (more: object = {}): Partial<CapabilityFile> => ({
  version: 1,
  server: SERVER,
  socket: '/run/x.sock',
  token: TOKEN,
  pid: 1,
  window: 'w',
  createdAt: 1,
  ...more,
});

describe('bridge: capability files', () => {
  let folder: RuntimeFolder;
  const find = (stem?: string, server = SERVER, folders = [folder.path]): Capability[] => findCapabilities({ folders, server, stem, uid });

  beforeEach(() => {
    folder = new RuntimeFolder();
  });
  afterEach(() => folder.dispose());

  it('reads the one that is named', () => {
    folder.write('abc', file());
    assert.deepEqual(find('abc'), [{ address: { socketPath: '/run/x.sock' }, token: TOKEN, createdAt: 1 }]);
    assert.deepEqual(find('abd'), []);
  });

  it('without a name takes the shared ones of the server, newest first', () => {
    folder.write(`${SERVER}.a.shared`, file({ createdAt: 1, socket: '/a' }));
    folder.write(`${SERVER}.b.shared`, file({ createdAt: 3, socket: '/b' }));
    folder.write(`${SERVER}.c.shared`, file({ createdAt: 2, socket: '/c' }));
    folder.write(`${SERVER}.d`, file({ createdAt: 9, socket: '/private' }));
    folder.write(`other.a.shared`, file({ server: 'other' }));
    folder.write(`${SERVER}.x.y.shared`, file({ server: `${SERVER}.x` }));
    assert.deepEqual(
      find().map((capability) => capability.address),
      [{ socketPath: '/b' }, { socketPath: '/c' }, { socketPath: '/a' }],
    );
  });

  it('prefers the first folder for a named one', () => {
    const second = new RuntimeFolder();
    folder.write('abc', file({ socket: '/first' }));
    second.write('abc', file({ socket: '/second' }));
    second.write('only', file({ socket: '/only' }));
    assert.deepEqual(
      [find('abc', SERVER, [folder.path, second.path]), find('only', SERVER, [folder.path, second.path])].map(([first]) => first?.address),
      [{ socketPath: '/first' }, { socketPath: '/only' }],
    );
    second.dispose();
  });

  it('takes loopback URLs and no others', () => {
    folder.write('ok', file({ socket: undefined, url: 'http://127.0.0.1:4711' }));
    assert.deepEqual(find('ok')[0]?.address, { host: '127.0.0.1', port: 4711 });
    for (const url of [
      'http://127.0.0.1.evil.example:80',
      'https://127.0.0.1:80',
      'http://10.0.0.1:80',
      'http://127.0.0.1:99999',
      'http://127.0.0.1:80@evil.example',
      5,
    ]) {
      folder.write('bad', file({ socket: undefined, url }));
      assert.deepEqual(find('bad'), [], String(url));
    }
  });

  it('ignores what others could have written or can read', function () {
    if (uid < 0) this.skip();
    for (const mode of [0o644, 0o660, 0o604, 0o620]) {
      folder.write('abc', file(), mode);
      assert.deepEqual(find('abc'), [], mode.toString(8));
    }
    folder.write('abc', file());
    for (const path of [folder.path, join(folder.path, CAPABILITY_FOLDER)]) {
      chmodSync(path, 0o755);
      assert.deepEqual(find('abc'), [], path);
      chmodSync(path, 0o700);
    }
    assert.equal(find('abc').length, 1);
    assert.deepEqual(findCapabilities({ folders: [folder.path], server: SERVER, stem: 'abc', uid: uid + 1 }), [], 'of another user');
  });

  it('follows no link, neither for the file nor for a folder, and is not stopped by a pipe', function () {
    if (uid < 0) this.skip();
    const real = folder.write('real', file());
    const path = (stem: string): string => join(folder.path, CAPABILITY_FOLDER, `${stem}.json`);
    symlinkSync(real, path('link'));
    assert.deepEqual(find('link'), []);
    execFileSync('mkfifo', ['-m', '600', path('pipe')]);
    assert.deepEqual(find('pipe'), []);
    const elsewhere = `${folder.path}-real`;
    renameSync(folder.path, elsewhere);
    symlinkSync(elsewhere, folder.path);
    assert.deepEqual(find('real'), []);
    rmSync(folder.path);
    renameSync(elsewhere, folder.path);
    assert.equal(find('real').length, 1);
  });

  it('ignores what is malformed', () => {
    const bad: object[] = [
      file({ version: 2 }),
      file({ server: 'other' }),
      file({ token: 'short' }),
      file({ token: `${TOKEN}\r\nX: y` }),
      file({ token: 5 }),
      file({ createdAt: 'now' }),
      file({ socket: '' }),
      file({ socket: undefined }),
      {},
    ];
    for (const content of bad) {
      folder.write('abc', content);
      assert.deepEqual(find('abc'), [], JSON.stringify(content));
    }
    for (const text of ['', 'null', '[]', '7', '{"version":1', `{"version":1,"x":"${'y'.repeat(40_000)}"}`]) {
      writeFileSync(folder.write('abc', file()), text);
      assert.deepEqual(find('abc'), [], text.slice(0, 20));
    }
  });

  it('lets no id leave the folder', () => {
    for (const id of ['a', 'A-1_b.c', 'everything.w1.shared']) assert.equal(isId(id), true, id);
    for (const id of ['', '..', '.x', 'a/b', 'a\\b', 'a b', 'a%2e', 'ä', 'x'.repeat(300)]) assert.equal(isId(id), false, id);
  });

  it('knows a tunnel that answers from a socket that was left behind', async () => {
    const window = await new FakeWindow(folder, () => undefined).open();
    const [capability] = find();
    assert.ok(capability);
    assert.equal(await answers(capability, 1_000), true);
    await window.kill();
    assert.equal(await answers(capability, 1_000), false);
  });
});
