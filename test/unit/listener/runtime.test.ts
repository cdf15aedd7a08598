import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import {
  MAX_SOCKET_PATH_BYTES,
  prepareFolder,
  refuseFolder,
  runtimeFolderCandidates,
  type RuntimeEnvironment,
} from '../../../src/common/runtimeFolder.ts';
import { ListenerError } from '../../../src/common/errors.ts';
import {
  capabilityPath,
  openRuntimeFolder,
  removeCapabilityFile,
  sweepRuntimeFolder,
  writeCapabilityFile,
} from '../../../src/listener/runtime.ts';
import { temporaryFolder } from '../../support/folders.ts';

const uid = process.getuid?.() ?? -1;
const mode = (path: string) => lstatSync(path).mode & 0o777;

describe('runtime folder', function () {
  if (process.platform === 'win32') return;
  let base: ReturnType<typeof temporaryFolder>;
  beforeEach(() => (base = temporaryFolder()));
  afterEach(() => base.remove());
  const around = (part: Partial<RuntimeEnvironment> = {}): RuntimeEnvironment => ({
    platform: 'darwin',
    env: { XDG_RUNTIME_DIR: base.path },
    home: base.path,
    tmp: base.path,
    uid,
    ...part,
  });

  it('is made for this user alone', () => {
    const { folder, socketPath } = openRuntimeFolder(around());
    assert.deepEqual([folder, mode(folder), mode(join(folder, 'capabilities'))], [join(base.path, 'culvert'), 0o700, 0o700]);
    assert.ok(socketPath.startsWith(`${folder}/`) && socketPath.endsWith('.sock'));
    assert.notEqual(openRuntimeFolder(around()).socketPath, socketPath);
  });

  it('is tightened where it is ours and open to others', () => {
    mkdirSync(join(base.path, 'culvert'));
    chmodSync(join(base.path, 'culvert'), 0o777);
    assert.equal(mode(openRuntimeFolder(around()).folder), 0o700);
  });

  it('is refused while it is open to others', () => {
    chmodSync(base.path, 0o755);
    assert.match(refuseFolder(base.path, uid) ?? '', /can be entered by others\. Run: chmod 700/);
  });

  it('is not taken where it belongs to somebody else; the next one is', function () {
    if (uid !== 0) this.skip();
    const foreign = join(base.path, 'culvert');
    mkdirSync(foreign, { mode: 0o700 });
    chownSync(foreign, 65534, 65534);
    assert.equal(openRuntimeFolder(around()).folder, join(base.path, `culvert-${uid}`));
    assert.match(refuseFolder(foreign, uid) ?? '', /belongs to another user \(uid 65534\)/);
  });

  it('is not taken where it is a link or a file', () => {
    const real = join(base.path, 'real');
    mkdirSync(real, { mode: 0o700 });
    symlinkSync(real, join(base.path, 'culvert'));
    assert.equal(openRuntimeFolder(around()).folder, join(base.path, `culvert-${uid}`));
    writeFileSync(join(base.path, 'file'), '');
    assert.match(prepareFolder(join(base.path, 'file'), uid) ?? '', /is not a folder/);
  });

  it('is not taken where its socket’s path would be too long', () => {
    const long = join(base.path, 'x'.repeat(MAX_SOCKET_PATH_BYTES));
    mkdirSync(long);
    const { folder, socketPath } = openRuntimeFolder(around({ env: { XDG_RUNTIME_DIR: long } }));
    assert.equal(folder, join(base.path, `culvert-${uid}`));
    assert.ok(Buffer.byteLength(socketPath) <= MAX_SOCKET_PATH_BYTES);
  });

  it('counts bytes, not characters', () => {
    const long = join(base.path, 'ü'.repeat(45));
    mkdirSync(long);
    assert.equal(openRuntimeFolder(around({ env: { XDG_RUNTIME_DIR: long } })).folder, join(base.path, `culvert-${uid}`));
  });

  it('names every reason where there is none', function () {
    if (uid !== 0) this.skip();
    // The last candidate lies outside the test’s folder: with a made-up uid it is one that nobody has.
    const stranger = around({ uid: 4242, env: { XDG_RUNTIME_DIR: join(base.path, 'missing') } });
    assert.throws(
      () => openRuntimeFolder(stranger),
      (error: unknown) =>
        error instanceof ListenerError &&
        error.code === 'CULVERT_LISTENER_NO_FOLDER' &&
        /can't be created.*belongs to another user/s.test(error.message),
    );
    for (const folder of runtimeFolderCandidates(stranger)) rmSync(folder, { recursive: true, force: true });
  });

  it('may be made by two windows at once', () => {
    const folder = join(base.path, 'both');
    assert.equal(prepareFolder(folder, uid), undefined);
    assert.equal(prepareFolder(folder, uid), undefined);
  });

  describe('sweep', () => {
    let folder: string;
    const servers: Server[] = [];
    const listen = async (path: string) => {
      const server = createServer();
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(path, resolve));
    };
    const file = (pid: number) => ({ version: 1 as const, server: 'srv-1', token: 't', pid, window: 'w', createdAt: 1 });

    beforeEach(() => (folder = openRuntimeFolder(around()).folder));
    afterEach(() => {
      for (const server of servers.splice(0)) server.close();
    });

    it('removes the socket of a window that crashed and keeps that of one that lives', async () => {
      await listen(join(folder, 'live.sock'));
      const crash = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
      spawnSync(process.execPath, ['-e', crash, join(folder, 'dead.sock')]);
      writeFileSync(join(folder, 'file.sock'), 'no socket');
      await sweepRuntimeFolder(folder);
      assert.equal(existsSync(join(folder, 'dead.sock')), true, 'it could be one that a starting window does not listen at yet');
      utimesSync(join(folder, 'dead.sock'), 1, 1);
      await sweepRuntimeFolder(folder);
      assert.deepEqual(
        readdirSync(folder)
          .filter((n) => n.endsWith('.sock'))
          .sort(),
        ['file.sock', 'live.sock'],
      );
    });

    it('removes capability files of processes that are gone, and broken ones', async () => {
      const gone = spawnSync(process.execPath, ['-e', '']).pid;
      writeCapabilityFile(folder, 'srv-1.dead', file(gone));
      writeCapabilityFile(folder, 'srv-1.live', file(process.pid));
      writeFileSync(capabilityPath(folder, 'srv-1.broken'), '{');
      await sweepRuntimeFolder(folder);
      assert.deepEqual(readdirSync(join(folder, 'capabilities')), ['srv-1.live.json']);
    });

    it('leaves a file alone that another window is just writing, not one from long ago', async () => {
      const [fresh, old] = ['a', 'b'].map((n) => join(folder, 'capabilities', `${n}.json.0.tmp`)) as [string, string];
      writeFileSync(fresh, '');
      writeFileSync(old, '');
      utimesSync(old, 1, 1);
      await sweepRuntimeFolder(folder);
      assert.deepEqual([existsSync(fresh), existsSync(old)], [true, false]);
    });
  });

  it('holds capability files that only the user reads, whole or not at all', () => {
    const { folder } = openRuntimeFolder(around());
    const content = { version: 1 as const, server: 's', token: 'made-up', pid: 1, window: 'w', createdAt: 1 };
    writeCapabilityFile(folder, 's.1', content);
    writeCapabilityFile(folder, 's.1', { ...content, token: 'other' });
    const path = capabilityPath(folder, 's.1');
    assert.deepEqual([mode(path), JSON.parse(readFileSync(path, 'utf8'))], [0o600, { ...content, token: 'other' }]);
    assert.deepEqual(readdirSync(join(folder, 'capabilities')), ['s.1.json']);
    removeCapabilityFile(folder, 's.1');
    removeCapabilityFile(folder, 's.1');
    assert.equal(existsSync(path), false);
  });
});

describe('runtimeFolderCandidates', () => {
  const around: RuntimeEnvironment = { platform: 'linux', env: {}, home: '/home/u', tmp: '/tmp', uid: 7 };
  it('is the same list for extension and bridge, with or without a clean environment', () => {
    assert.deepEqual(runtimeFolderCandidates({ ...around, env: { XDG_RUNTIME_DIR: '/run/user/7' } }), [
      '/run/user/7/culvert',
      '/tmp/culvert-7',
    ]);
    assert.deepEqual(runtimeFolderCandidates(around), ['/run/user/7/culvert', '/tmp/culvert-7']);
    assert.deepEqual(runtimeFolderCandidates({ ...around, platform: 'darwin', tmp: '/var/t' }), ['/var/t/culvert-7', '/tmp/culvert-7']);
  });
});
