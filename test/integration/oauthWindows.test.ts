import assert from 'node:assert/strict';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ProtectedScene, callTool } from '../support/protectedScene.ts';
import { FileSecretStore } from '../support/fileSecretStore.ts';

/** One window, as a process of its own. */
class OtherWindow {
  readonly process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(scene: ProtectedScene, secrets: string) {
    const options = { url: scene.scene.server.url, stateFolder: scene.scene.state.path, secrets };
    const script = join(import.meta.dirname, '../support/oauthWindow.ts');
    this.process = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, JSON.stringify(options)]);
    this.process.stderr.on('data', (text: Buffer) => (this.#errors += text.toString()));
    this.#lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done === true) throw new Error(`The window ended: ${this.#errors}`);
    return next.value;
  }

  /** Makes calls at once; their results. */
  async calls(count: number): Promise<string[]> {
    this.begin(count);
    return JSON.parse(await this.line()) as string[];
  }

  begin(count: number): void {
    this.process.stdin.write(`${count}\n`);
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill('SIGKILL');
    await once(this.process, 'exit');
  }
}

/** Issue 8: windows share a refresh token that rotates, and a second use of one ends its family. */
describe('OAuth in several windows', function () {
  this.timeout(180_000);
  let scene: ProtectedScene;
  let secrets: string;
  let windows: OtherWindow[];

  /** Signs in, and opens windows on what was stored. */
  const open = async (accessTokenSeconds: number) => {
    scene = await ProtectedScene.open({ accessTokenSeconds });
    secrets = join(scene.scene.state.path, 'secrets');
    const first = await scene.tunnel({ vault: new FileSecretStore(secrets) });
    windows = [new OtherWindow(scene, secrets), new OtherWindow(scene, secrets)];
    for (const window of windows) assert.equal(await window.line(), 'ready');
    assert.equal(await callTool(first), 'done');
    return Date.now();
  };
  const pause = (until: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, until - Date.now())));
  afterEach(async () => {
    for (const window of windows) await window.kill();
    await scene.close();
  });

  it('twenty calls over two processes with an expired token: one refresh, every call answered, no family ended', async () => {
    const signedIn = await open(4);
    await pause(signedIn + 4_500);
    const results = await Promise.all(windows.map((window) => window.calls(10)));
    assert.deepEqual(
      results.flat(),
      Array.from({ length: 20 }, () => 'done'),
    );
    assert.equal(scene.issuer.tokenRequests('refresh_token').length, 1);
    assert.equal(scene.issuer.tokenRequests('authorization_code').length, 1);
    assert.equal(scene.issuer.revokedFamilies, 0);
  });

  it('a window that is killed after its refresh token was taken: the token is not shown again while the old access token holds', async () => {
    const signedIn = await open(20);
    const [victim, other] = windows;
    assert.ok(victim && other);
    let taken: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => (taken = resolve));
    scene.issuer.beforeAnswer = ({ body }) => {
      if (body.get('grant_type') !== 'refresh_token') return undefined;
      taken();
      return new Promise<void>(() => undefined);
    };
    // Of twenty seconds the token is renewed after some nine, and sent until fifteen.
    await pause(signedIn + 9_500);
    victim.begin(1);
    await arrived;
    await victim.kill();
    scene.issuer.beforeAnswer = undefined;
    assert.deepEqual(
      await other.calls(10),
      Array.from({ length: 10 }, () => 'done'),
    );
    assert.equal(scene.issuer.tokenRequests('refresh_token').length, 1);
    assert.equal(scene.issuer.revokedFamilies, 0);
  });

  it('a window that is killed before the server took its refresh token: another one refreshes', async () => {
    const signedIn = await open(4);
    const [victim, other] = windows;
    assert.ok(victim && other);
    let seen: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => (seen = resolve));
    scene.issuer.intercept = ({ body }) => {
      if (body.get('grant_type') !== 'refresh_token') return false;
      seen();
      return true;
    };
    await pause(signedIn + 4_500);
    victim.begin(1);
    await arrived;
    await victim.kill();
    scene.issuer.intercept = undefined;
    assert.deepEqual(
      await other.calls(10),
      Array.from({ length: 10 }, () => 'done'),
    );
    assert.equal(scene.issuer.tokenRequests('refresh_token').length, 2);
    assert.equal(scene.issuer.revokedFamilies, 0);
  });
});
