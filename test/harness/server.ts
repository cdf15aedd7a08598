/** Starts a VS Code server with everything it writes in one throw-away folder, and addresses its windows. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { BrowserContext } from 'playwright-core';
import { ensureVSCodeServer } from './installVSCode.ts';
import { keepTraces } from '../support/noted.ts';
import { PROJECT_ROOT } from './paths.ts';

const START_TIMEOUT_MS = 180_000;
const STOP_TIMEOUT_MS = 5_000;

/** What VS Code and its extensions write below the run folder: settings, storage, logs. The rest is what tests put there. */
const WRITTEN = ['user', 'server', 'server.log', 'tmp', 'home/.config'] as const;

/** VS Code settings for tests: nothing that moves, asks, fetches or steals the focus. */
export const DEFAULT_SETTINGS: Readonly<Record<string, unknown>> = {
  'workbench.startupEditor': 'none',
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.tips.enabled': false,
  'workbench.reduceMotion': 'on',
  'workbench.enableExperiments': false,
  'workbench.settings.enableNaturalLanguageSearch': false,
  'workbench.editor.enablePreview': false,
  'workbench.editor.useModal': 'off',
  'remote.autoForwardPorts': false,
  'window.confirmBeforeClose': 'never',
  'security.workspace.trust.enabled': false,
  'telemetry.telemetryLevel': 'off',
  'update.mode': 'none',
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'extensions.verifySignature': false,
  'editor.cursorBlinking': 'solid',
  'editor.minimap.enabled': false,
  'editor.accessibilitySupport': 'off',
  'git.enabled': false,
  'git.openRepositoryInParentFolders': 'never',
  'npm.fetchOnlinePackageInfo': false,
  // Tests start MCP servers themselves.
  'chat.mcp.autostart': 'never',
};

/** Options of {@link startServer}. */
export interface ServerOptions {
  /** User settings on top of {@link DEFAULT_SETTINGS}. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Added to the environment of the server and of every extension host. */
  readonly env?: Readonly<Record<string, string>>;
  /** Unpacked extensions to install: a folder, or a folder and the entries of it that count. */
  readonly extensions?: readonly UnpackedExtension[];
  /** Installs the companion extension (see `companion/`), so that windows can be driven from outside. */
  readonly companion?: boolean;
  /** Runs a suite in the extension host. Suppresses every notification, and answers confirmations by itself. */
  readonly testMode?: boolean;
  /** Keeps `HOME` and `TMPDIR` of this process instead of fresh ones. */
  readonly realHome?: boolean;
  /** Where everything is written (default: a new folder below the system's temporary folder). */
  readonly runFolder?: string;
}

/** A folder with a package.json, and which of its entries belong to the extension (default: all). */
export interface UnpackedExtension {
  readonly folder: string;
  readonly entries?: readonly string[];
}

/** A running server. */
export interface VSCodeServer {
  /** `127.0.0.1:<port>`, which is also the remote authority. */
  readonly host: string;
  /** Base address without the token. */
  readonly url: string;
  /** Whoever has it can run code as this user; it is in the addresses that {@link windowUrl} makes. */
  readonly connectionToken: string;
  readonly runFolder: string;
  readonly logFile: string;
  /** Where the companions of the windows announce themselves. */
  readonly companions: string | undefined;
  /** Resolves when the server process has ended, however it did. */
  readonly ended: Promise<void>;
  /** Stops the server and everything it started; removes the run folder unless `CULVERT_TEST_KEEP` is set or `remove` is false. */
  stop(options?: { remove?: boolean }): Promise<void>;
}

/** Starts a VS Code server on a free loopback port. */
export async function startServer(options: ServerOptions = {}): Promise<VSCodeServer> {
  const build = ensureVSCodeServer();
  const runFolder = options.runFolder ?? fs.mkdtempSync(path.join(os.tmpdir(), 'culvert-'));
  const folder = (...names: string[]) => {
    const created = path.join(runFolder, ...names);
    fs.mkdirSync(created, { recursive: true, mode: 0o700 });
    return created;
  };
  const extensions = folder('extensions');
  for (const extension of options.extensions ?? []) installUnpacked(extensions, extension);
  if (options.companion) installUnpacked(extensions, { folder: path.join(PROJECT_ROOT, 'out/companion') });
  const companions = options.companion ? folder('companions') : undefined;
  fs.writeFileSync(
    path.join(folder('user', 'User'), 'settings.json'),
    JSON.stringify({ ...DEFAULT_SETTINGS, ...options.settings }, null, 2),
  );

  // Nothing from an outer VS Code, and no galleries to look at.
  const inherited = Object.entries(process.env).filter(([key]) => !/^(VSCODE_|ELECTRON_|NODE_OPTIONS$|CULVERT_DEMO|npm_)/.test(key));
  const home = options.realHome ? undefined : folder('home');
  const env: NodeJS.ProcessEnv = {
    ...Object.fromEntries(inherited),
    EXTENSIONS_GALLERY: '{}',
    ...(home && {
      HOME: home,
      XDG_CONFIG_HOME: path.join(home, '.config'),
      XDG_DATA_HOME: path.join(home, '.local/share'),
      XDG_RUNTIME_DIR: folder('tmp'),
      TMPDIR: folder('tmp'),
    }),
    ...(companions && { CULVERT_TEST_COMPANIONS: companions }),
    ...options.env,
  };

  const connectionToken = randomBytes(24).toString('base64url');
  const tokenFile = path.join(runFolder, 'connection-token');
  fs.writeFileSync(tokenFile, connectionToken, { mode: 0o600 });
  const logFile = path.join(runFolder, 'server.log');
  const log = fs.openSync(logFile, 'a');
  const child = spawn(
    build.node,
    [
      build.main,
      '--host=127.0.0.1',
      '--port=0',
      '--connection-token-file',
      tokenFile,
      '--accept-server-license-terms',
      '--telemetry-level=off',
      '--disable-telemetry',
      '--disable-experiments',
      '--disable-workspace-trust',
      '--disable-getting-started-override',
      '--force-disable-user-env',
      ...(options.testMode ? ['--enable-smoke-test-driver'] : []),
      '--server-data-dir',
      folder('server'),
      '--user-data-dir',
      folder('user'),
      '--extensions-dir',
      extensions,
    ],
    { env, stdio: ['ignore', 'pipe', log], detached: true },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const killGroup = (signal: NodeJS.Signals) => {
    try {
      // The whole group: server, extension hosts, watchers, MCP servers.
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    } catch {
      // All gone.
    }
  };
  const onExit = () => killGroup('SIGKILL');
  process.once('exit', onExit);
  const port = await listeningPort(child, log, logFile);

  return {
    host: `127.0.0.1:${port}`,
    url: `http://127.0.0.1:${port}/`,
    connectionToken,
    runFolder,
    logFile,
    companions,
    ended,
    async stop({ remove = true } = {}) {
      killGroup('SIGTERM');
      const timer = setTimeout(() => killGroup('SIGKILL'), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
      killGroup('SIGKILL');
      process.off('exit', onExit);
      fs.closeSync(log);
      if (!remove || process.env['CULVERT_TEST_KEEP']) return;
      keepTraces('vscode', runFolder, WRITTEN);
      fs.rmSync(runFolder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },
  };
}

async function listeningPort(child: ChildProcess, log: number, logFile: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`The VS Code server did not start, see ${logFile}`)), START_TIMEOUT_MS);
    let seen: string | undefined = '';
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`The VS Code server ended with ${code}, see ${logFile}`)));
    child.stdout?.on('data', (chunk: Buffer) => {
      try {
        fs.writeSync(log, chunk);
      } catch {
        // Stopped, and the log closed.
      }
      if (seen === undefined) return;
      seen += chunk.toString();
      const match = /Extension host agent listening on (\d+)/.exec(seen);
      if (!match) return;
      clearTimeout(timer);
      seen = undefined;
      resolve(Number(match[1]));
    });
  });
}

/** Copies an unpacked extension into an extensions folder, so that it counts as installed. To be called before the first window opens. */
export function installUnpacked(extensionsFolder: string, { folder, entries }: UnpackedExtension): string {
  const manifest = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')) as {
    publisher: string;
    name: string;
    version: string;
  };
  const target = path.join(extensionsFolder, `${manifest.publisher}.${manifest.name}-${manifest.version}`);
  fs.rmSync(target, { recursive: true, force: true });
  for (const entry of entries ?? fs.readdirSync(folder)) {
    const source = path.join(folder, entry);
    if (fs.existsSync(source)) fs.cpSync(source, path.join(target, entry), { recursive: true, dereference: true });
  }
  return target;
}

/** What a window shows, and the options it starts with. */
export interface WindowOptions {
  readonly folder?: string;
  /** An extension under development (VS Code for the web takes one): it runs in development mode instead of an installed one of the same name. */
  readonly extensionDevelopmentPath?: string;
  /** VS Code for the web's stand-in for other command-line options. */
  readonly payload?: Readonly<Record<string, string>>;
}

/** The address of a window. */
export function windowUrl(server: VSCodeServer, { folder, extensionDevelopmentPath, payload = {} }: WindowOptions = {}): string {
  const url = new URL(server.url);
  url.searchParams.set('tkn', server.connectionToken);
  if (folder) url.searchParams.set('folder', folder);
  else url.searchParams.set('ew', 'true');
  const entries = [
    ['skipWelcome', 'true'],
    ['skipReleaseNotes', 'true'],
    ...(extensionDevelopmentPath ? [['extensionDevelopmentPath', remoteUri(server, extensionDevelopmentPath)]] : []),
    ...Object.entries(payload),
  ];
  url.searchParams.set('payload', JSON.stringify(entries));
  return url.href;
}

/** The URI that the workbench uses for a path on this machine. */
export function remoteUri(server: VSCodeServer, file: string): string {
  return `vscode-remote://${server.host}${path.resolve(file)}`;
}

/**
 * Sets entries of VS Code's own application state in a profile, before its first window opens. For instance
 * `builtinChatExtensionEnablementMigration: 'true'` keeps the built-in chat extension enabled although nobody is signed in.
 */
export async function seedState(profile: BrowserContext, server: VSCodeServer, items: Readonly<Record<string, string>>): Promise<void> {
  const page = await profile.newPage();
  const address = `${server.url}seed`;
  await profile.route(address, (route) => route.fulfill({ contentType: 'text/html', body: '<html></html>' }));
  await page.goto(address);
  // As text: it runs in the page, where other globals exist than the ones this file is checked against.
  await page.evaluate(`new Promise((resolve, reject) => {
    const request = indexedDB.open('vscode-web-state-db-global');
    request.onupgradeneeded = () => request.result.createObjectStore('ItemTable');
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const transaction = request.result.transaction('ItemTable', 'readwrite');
      for (const [key, value] of Object.entries(${JSON.stringify(items)})) transaction.objectStore('ItemTable').put(value, key);
      transaction.oncomplete = () => { request.result.close(); resolve(); };
      transaction.onerror = () => reject(transaction.error);
    };
  })`);
  await page.close();
  await profile.unroute(address);
}
