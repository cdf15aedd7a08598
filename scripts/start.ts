/**
 * `npm start`: the demo. Builds Culvert, starts a real MCP server behind a gate that wants a bearer token, and opens VS Code on a sample
 * workspace with that server already sealed in Culvert: the desktop VS Code where there is one, else the VS Code server from npm in a
 * browser. Runs until the window is closed or Ctrl+C; what it wrote is removed then.
 *
 * `npm start -- --headless` plays the story without a window and prints it. `npm start -- --server` takes the VS Code server in any case.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { downloadAndUnzipVSCode } from '@vscode/test-electron';
import { PROJECT_ROOT, VSCODE_CACHE } from '../test/harness/paths.ts';
import { startServer, windowUrl } from '../test/harness/server.ts';
import { stageExtension } from '../test/harness/stageExtension.ts';
import { build } from './build.ts';
import { writeDemoFile } from './demo/demoFile.ts';
import { startDemoUpstream } from './demo/upstream.ts';

const DEMO_LABEL = 'Demo';
const SAMPLE = `# Sample workspace

Culvert is set up with one server, "${DEMO_LABEL}". Its credential is sealed: no file here holds it.

1. Open the Culvert container in the activity bar.
2. Run "Demo Agent: Call a Tool..." from the palette and choose a tool, or ask an agent in the Chat view to use one.
3. Answer what Culvert asks, and look at Activity.
4. Call the tool "get-env": its result holds the credential, and the agent gets it redacted.
`;

const { values } = parseArgs({ options: { headless: { type: 'boolean' }, server: { type: 'boolean' } } });
if (values.headless) {
  const { run } = await import('./headless.ts');
  process.exitCode = await run();
} else {
  await start();
}

async function start(): Promise<void> {
  await build({ demo: true });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'culvert-'));
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  const upstream = await startDemoUpstream();
  const demoFile = path.join(folder, 'demo.json');
  writeDemoFile(demoFile, { label: DEMO_LABEL, url: upstream.url, token: upstream.token });
  const workspace = path.join(folder, 'sample');
  fs.mkdirSync(workspace);
  fs.writeFileSync(path.join(workspace, 'README.md'), SAMPLE);
  const demo: Demo = {
    folder,
    workspace,
    env: { CULVERT_DEMO: demoFile },
    culvert: stageExtension(path.join(folder, 'culvert')),
    agent: path.join(PROJECT_ROOT, 'out/demo-agent'),
  };
  console.log(`Demo server: ${upstream.url} (wants a bearer token made up just now)`);

  const desktop = values.server ? undefined : await findDesktop();
  await (desktop === undefined ? openInBrowser(demo) : Promise.race([openDesktop(desktop, demo), interrupted()]));
  await upstream.close();
  process.exit();
}

interface Demo {
  readonly folder: string;
  readonly workspace: string;
  readonly env: Readonly<Record<string, string>>;
  /** The extension under development. */
  readonly culvert: string;
  /** Another extension, see `demo/agent`. */
  readonly agent: string;
}

/** The desktop VS Code: `code` on the PATH; outside Linux, where the server build is not to be had, one that is downloaded. */
async function findDesktop(): Promise<string | undefined> {
  const display = process.platform !== 'linux' || Boolean(process.env['DISPLAY'] ?? process.env['WAYLAND_DISPLAY']);
  if (!display) return undefined;
  const name = process.platform === 'win32' ? 'code.cmd' : 'code';
  const found = (process.env['PATH'] ?? '')
    .split(path.delimiter)
    .map((folder) => path.join(folder, name))
    .find((file) => fs.existsSync(file));
  if (found !== undefined || process.platform === 'linux') return found;
  return downloadAndUnzipVSCode({ version: 'stable', cachePath: VSCODE_CACHE });
}

/** Resolves when the window is closed. */
async function openDesktop(executable: string, demo: Demo): Promise<void> {
  const userData = path.join(demo.folder, 'user');
  fs.mkdirSync(path.join(userData, 'User'), { recursive: true });
  fs.writeFileSync(
    path.join(userData, 'User/settings.json'),
    JSON.stringify({ 'workbench.startupEditor': 'readme', 'telemetry.telemetryLevel': 'off' }),
  );
  const args = [
    '--wait',
    '--new-window',
    '--disable-workspace-trust',
    `--user-data-dir=${userData}`,
    `--extensions-dir=${path.join(demo.folder, 'extensions')}`,
    ...[demo.culvert, demo.agent].map((folder) => `--extensionDevelopmentPath=${folder}`),
    ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    demo.workspace,
  ];
  // Not the variables of a VS Code whose terminal this may run in.
  const inherited = Object.entries(process.env).filter(([key]) => !/^(VSCODE_|ELECTRON_|NODE_OPTIONS$)/.test(key));
  console.log(`Opening ${executable}. Close the window, or press Ctrl+C here, to end the demo.`);
  const shell = process.platform === 'win32';
  const child = spawn(shell ? `"${executable}"` : executable, args, {
    env: { ...Object.fromEntries(inherited), ...demo.env },
    stdio: 'ignore',
    shell,
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => resolve());
  });
}

/** Resolves when the server has ended, by itself or by Ctrl+C. */
async function openInBrowser(demo: Demo): Promise<void> {
  const server = await startServer({
    runFolder: demo.folder,
    env: demo.env,
    extensions: [{ folder: demo.agent }],
    settings: { 'workbench.startupEditor': 'readme', 'security.workspace.trust.enabled': false },
  });
  const address = windowUrl(server, {
    folder: demo.workspace,
    extensionDevelopmentPath: demo.culvert,
    payload: { skipWelcome: 'false' },
  });
  console.log(
    `\nVS Code runs here. Open this address in a browser on this machine (it holds a token, keep it to yourself):\n\n  ${address}\n\nCtrl+C ends it.`,
  );
  if (process.env['DISPLAY'] ?? process.env['WAYLAND_DISPLAY']) {
    spawn('xdg-open', [address], { stdio: 'ignore', detached: true })
      .once('error', () => undefined)
      .unref();
  }
  await Promise.race([server.ended, interrupted()]);
  await server.stop();
}

async function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}
