import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { StoreError } from '../../src/common/errors.ts';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall } from '../support/agent.ts';
import { temporaryFolder } from '../support/folders.ts';
import { newScene, type Scene } from '../support/tunnels.ts';

const IS_ROOT = process.getuid?.() === 0;

/** A file system of its own, as large as it says; `undefined` where this machine gives none. */
function smallDisk(megabytes: number): { readonly path: string; readOnly(): void; remove(): void } | undefined {
  const folder = temporaryFolder();
  const mount = (...args: string[]) => spawnSync('mount', args).status === 0;
  if (process.platform !== 'linux' || !IS_ROOT || !mount('-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder.path)) {
    folder.remove();
    return undefined;
  }
  return {
    path: folder.path,
    readOnly: () => assert.ok(mount('-o', 'remount,ro', folder.path)),
    remove: () => {
      spawnSync('umount', ['-l', folder.path]);
      folder.remove();
    },
  };
}

describe('a disk that', () => {
  let scene: Scene;
  let disk: NonNullable<ReturnType<typeof smallDisk>>;
  const vault = new MemorySecretStore();
  beforeEach(async function () {
    const made = smallDisk(4);
    if (!made) {
      console.log('      Mounting needs root on Linux.');
      return this.skip();
    }
    disk = made;
    scene = await newScene();
  });
  afterEach(async () => {
    await scene.close();
    disk.remove();
  });

  const open = () => scene.open({ vault, stateFolder: join(disk.path, 'state') });
  const call = async (tunnel: HeadlessTunnel, args: object = {}) => (await send(tunnel, { body: toolCall('echo', args) })).json();
  const fill = () => {
    const file = join(disk.path, 'filler');
    for (const size of [64 * 1024, 4 * 1024, 512])
      try {
        for (;;) appendFileSync(file, Buffer.alloc(size, 1));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
      }
    return { free: () => rmSync(file) };
  };

  it('is full: calls are denied, nothing is lost or overwritten, and all goes on once there is room', async function () {
    this.timeout(20_000);
    const tunnel = await open();
    for (let i = 0; i < 20; i++) assert.equal((await call(tunnel)).error, undefined);
    const before = tunnel.core.audit.head.n;
    const filler = fill();
    // What is in the log file already has room; it is soon used up.
    const text = 'x'.repeat(6_000);
    let denied: string | undefined;
    for (let i = 0; i < 200 && denied === undefined; i++) denied = (await call(tunnel, { text })).error?.message;
    assert.match(denied ?? '', /can’t write its record, so nothing is let through/);
    const seen = scene.server.seen.length;
    for (let i = 0; i < 5; i++) assert.match((await call(tunnel, { text })).error?.message ?? '', /can’t write its record/);
    assert.equal(scene.server.seen.length, seen);
    assert.ok(scene.log.lines.some((line) => /The disk that holds .*culvert\.db is full\. Free some space and try again\./.test(line)));
    filler.free();
    assert.equal((await call(tunnel)).error, undefined);
    assert.ok(tunnel.core.audit.head.n > before);
    const { faults } = await tunnel.core.audit.verify();
    assert.deepEqual(faults, []);
  });

  it('is full at the start: refused, with what to do, and nothing is changed', async () => {
    const first = await open();
    await call(first);
    await first.close();
    const filler = fill();
    await assert.rejects(
      open(),
      (e: unknown) => e instanceof StoreError && /CULVERT_STORE_(FULL|FAILED|UNWRITABLE)/.test(e.code) && e.message.length > 20,
    );
    filler.free();
    const again = await open();
    assert.deepEqual((await again.core.audit.verify()).faults, []);
  });

  it('can only be read: refused, with what to do, and nothing is changed', async () => {
    const first = await open();
    await call(first);
    await first.close();
    const file = join(disk.path, 'state', 'culvert.db');
    const before = readFileSync(file);
    disk.readOnly();
    await assert.rejects(
      open(),
      (e: unknown) => e instanceof StoreError && e.code === 'CULVERT_STORE_UNWRITABLE' && e.message.includes('write access'),
    );
    assert.deepEqual(readFileSync(file), before);
  });
});

describe('a folder without write access', () => {
  it('is refused, with what to do', async function () {
    if (IS_ROOT || process.platform === 'win32') {
      // Rights are nothing to root; there the disk that can only be read takes its place.
      return this.skip();
    }
    const scene = await newScene();
    const folder = join(scene.state.path, 'closed');
    mkdirSync(folder, { mode: 0o500 });
    await assert.rejects(scene.open({ stateFolder: folder }), { code: 'CULVERT_STORE_UNWRITABLE' });
    assert.deepEqual(readdirSync(folder), []);
    chmodSync(folder, 0o700);
    await scene.close();
  });
});
