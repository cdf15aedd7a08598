/**
 * Fetches a real VS Code *server* (from the npm package `code-server`) into a cache folder, the way @vscode/test-electron fetches a desktop
 * VS Code. Needs the npm registry and `tar`, nothing else: no compiler, no system packages, no display. Linux with glibc, x64 or arm64.
 *
 * Only `lib/vscode` of the package is used: VS Code's own server entry point runs without code-server's wrapper, on the Node that runs the
 * tests. Every dependency stays at the version of the package's shrinkwrap; no install script runs.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { VSCODE_CACHE } from './paths.ts';

/** Version of the npm package `code-server`; 4.139.1 holds VS Code 1.139.1. */
const CODE_SERVER_VERSION = '4.139.1';
/** Checked after the download, whatever the registry says. */
const CODE_SERVER_SHA512 = 'fUYvJVdz4ZoVJfakGiGWXFMpF8K1ObsrpGvX17ZxNpKOzdNHs7lANT670JTr4ZhA8DnWqyvvmFG/d3HV9Yy6ew==';
/** Bumped when what is done to the build below changes, so that an older cache is not used. */
const RECIPE = 1;
/** VS Code's server must run on the major version of Node it was built for (code-server's `engines.node`). */
const NODE_MAJOR = 24;

/** A prepared VS Code server build. */
export interface VSCodeServerBuild {
  /** The folder of the build. */
  readonly root: string;
  /** The server's entry point, to be run with `node`. */
  readonly main: string;
  /** The Node executable that runs it. */
  readonly node: string;
}

/**
 * Never used by a test of an extension: agent sessions, Windows and macOS natives, Kerberos, dev containers, SSH. Without them nothing
 * has to be compiled, and about 300 MB stay away.
 */
const DROPPED_DEPENDENCIES = [
  '@devcontainers/cli',
  '@github/copilot-sdk',
  '@microsoft/mxc-sdk',
  '@vscode/copilot-api',
  '@vscode/deviceid',
  '@vscode/fs-copyfile',
  '@vscode/native-watchdog',
  '@vscode/sandbox-runtime',
  '@vscode/spdlog',
  '@vscode/sqlite3',
  '@vscode/windows-process-tree',
  '@vscode/windows-registry',
  'kerberos',
  'ssh2',
];

/** Built-in extensions that are large and of no use here. */
const DROPPED_EXTENSIONS = ['mermaid-markdown-features'];

/** Plain JavaScript in place of the native log writer that the server wants at start. */
const SPDLOG_SHIM = `'use strict';
const fs = require('fs'), path = require('path');
const NAMES = ['trace', 'debug', 'info', 'warning', 'error', 'critical'];
exports.version = 10500; exports.setLevel = () => {}; exports.setFlushOn = () => {};
class Logger {
  constructor(type, name, file) { this.file = file; this.level = 2; this.raw = false; fs.mkdirSync(path.dirname(file), { recursive: true }); }
  _w(l, m) { if (l < this.level) return; const t = new Date().toISOString().replace('T', ' ').slice(0, -1);
    try { fs.appendFileSync(this.file, this.raw ? m : t + ' [' + NAMES[l] + '] ' + m + '\\n'); } catch { /* log folder removed at shutdown */ } }
  trace(m) { this._w(0, m); } debug(m) { this._w(1, m); } info(m) { this._w(2, m); }
  warn(m) { this._w(3, m); } error(m) { this._w(4, m); } critical(m) { this._w(5, m); }
  getLevel() { return this.level; } setLevel(l) { this.level = l; }
  setPattern() {} clearFormatters() { this.raw = true; } flush() {} drop() {}
}
exports.Logger = Logger;
exports.createRotatingLogger = exports.createAsyncRotatingLogger = async (n, f, s, c) => new Logger('rotating', n, f, s, c);
`;

/** Natives that something imports at start, each with its obvious equivalent. */
const SHIMS: Readonly<Record<string, string>> = {
  '@vscode/spdlog': SPDLOG_SHIM,
  '@vscode/native-watchdog': `exports.start = () => {}; exports.exit = (c) => process.exit(c || 0);\n`,
  '@vscode/deviceid': `exports.getDeviceId = async () => '00000000-0000-4000-8000-000000000000';\n`,
  '@vscode/fs-copyfile':
    `const fs = require('fs'); Object.assign(exports, { cp: fs.promises.cp, copyFile: fs.promises.copyFile, copyFileSync: fs.copyFileSync, ` +
    `isCloneSupported: () => false, isMacOS: false, constants: fs.constants });\n`,
};

interface Patch {
  readonly name: string;
  readonly find: RegExp;
  /** `$1` is the first captured group. */
  readonly put: string;
}

const WORKBENCH = 'out/vs/code/browser/workbench/workbench.js';
const ID = '[A-Za-z_$][\\w$]*';

/**
 * VS Code for the web keeps SecretStorage in localStorage, cached per window and written back whole: two windows overwrite each other's
 * secrets and never see changes. The desktop shares them. The first two patches give the server build the desktop's behaviour: one
 * IndexedDB record per secret (transactional across windows; localStorage is not, Chromium caches it per process) and change events in the
 * other windows.
 *
 * `extensionDevelopmentPath` is ignored in a built VS Code unless the server runs with --enable-smoke-test-driver, which also suppresses
 * every notification. The third patch takes it without that flag, so that a window can run the extension in development mode and still
 * show what it has to say.
 *
 * Each must match exactly once, or the build is not used.
 */
const PATCHES: readonly Patch[] = [
  {
    name: 'secrets shared between windows',
    find: new RegExp(
      `async get\\((${ID})\\)\\{return\\(await this\\.secretsPromise\\)\\[\\1\\]\\}` +
        `async set\\((${ID}),(${ID})\\)\\{.{0,120}?this\\.save\\(\\)\\}async delete\\((${ID})\\)\\{.{0,140}?this\\.save\\(\\)\\}` +
        `async keys\\(\\)\\{.{0,100}?\\}`,
    ),
    put:
      'async __db(m,f){let d=await(this.__dbp??=new Promise((y,n)=>{let r=indexedDB.open("vscode-web-secrets",1);' +
      'r.onupgradeneeded=()=>r.result.createObjectStore("s");r.onsuccess=()=>y(r.result);r.onerror=()=>n(r.error)}));' +
      'return new Promise((y,n)=>{let t=d.transaction("s",m),q=f(t.objectStore("s"));t.oncomplete=()=>y(q.result);t.onerror=t.onabort=()=>n(t.error)})}' +
      'async get(k){return this.__db("readonly",s=>s.get(k))}' +
      'async set(k,v){await this.__db("readwrite",s=>s.put(v,k));globalThis.__secretsChannel?.postMessage(k)}' +
      'async delete(k){await this.__db("readwrite",s=>s.delete(k));globalThis.__secretsChannel?.postMessage(k)}' +
      'async keys(){return this.__db("readonly",s=>s.getAllKeys())}',
  },
  {
    name: 'change events of secrets across windows',
    find: new RegExp(`(this\\._secretStorageProvider=${ID}\\.options\\.secretStorageProvider,this\\._embedderSequencer=new ${ID})\\)`),
    put: '$1,(globalThis.__secretsChannel=new BroadcastChannel("vscode-web-secrets")).onmessage=n=>this.onDidChangeSecretEmitter.fire(n.data))',
  },
  {
    name: 'extension development without the smoke test driver',
    find: /if\(this\.payload&&\(!this\.isBuilt\|\|this\.enableSmokeTestDriver\)\)(for\(let\[)/,
    put: 'if(this.payload)$1',
  },
];

/**
 * Returns the VS Code server build in `cacheDir`, preparing it if it isn't there: about 10 seconds and 150 MB of download.
 * @throws if the platform is not served, the registry is out of reach, or the download is not the expected one.
 */
export function ensureVSCodeServer(
  cacheDir = VSCODE_CACHE,
  log = (message: string) => console.error(`[vscode] ${message}`),
): VSCodeServerBuild {
  if (process.platform !== 'linux') throw new Error('The VS Code server build is for Linux only.');
  if (Number(process.versions.node.split('.')[0]) !== NODE_MAJOR) {
    throw new Error(
      `VS Code ${CODE_SERVER_VERSION} needs Node ${NODE_MAJOR}, this is ${process.version}. Start it through npm (npm test, npm start).`,
    );
  }
  const root = path.join(cacheDir, `vscode-server-${CODE_SERVER_VERSION}-${RECIPE}-linux-${process.arch}`);
  const build = { root, main: path.join(root, 'out/server-main.js'), node: process.execPath };
  if (isComplete(root)) return build;

  const started = Date.now();
  // Built aside and renamed at the end: an interrupted or a parallel run does no harm.
  const work = `${root}.tmp-${process.pid}`;
  fs.rmSync(work, { recursive: true, force: true });
  fs.mkdirSync(work, { recursive: true });
  try {
    prepare(work, log);
    fs.writeFileSync(path.join(work, 'is-complete'), '');
    if (!isComplete(root)) {
      fs.rmSync(root, { recursive: true, force: true });
      fs.renameSync(work, root);
    }
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
  log(`VS Code server ready in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  return build;
}

function isComplete(root: string): boolean {
  return fs.existsSync(path.join(root, 'is-complete'));
}

function prepare(root: string, log: (message: string) => void): void {
  log(`downloading code-server@${CODE_SERVER_VERSION} from the npm registry`);
  npm(['pack', '--silent', '--pack-destination', root, `code-server@${CODE_SERVER_VERSION}`], root);
  const archive = path.join(root, `code-server-${CODE_SERVER_VERSION}.tgz`);
  const digest = createHash('sha512').update(fs.readFileSync(archive)).digest('base64');
  if (digest !== CODE_SERVER_SHA512) throw new Error(`code-server@${CODE_SERVER_VERSION} is not the expected package (sha512 ${digest}).`);
  const excluded = DROPPED_EXTENSIONS.map((name) => `--exclude=package/lib/vscode/extensions/${name}`);
  execFileSync('tar', ['-xzf', archive, '-C', root, '--strip-components=3', ...excluded, 'package/lib/vscode'], { stdio: 'inherit' });
  fs.rmSync(archive);

  const manifestFile = path.join(root, 'package.json');
  const manifest = JSON.parse(fs.readFileSync(manifestFile, 'utf8')) as {
    dependencies: Record<string, string>;
    overrides?: Record<string, unknown>;
    allowScripts?: unknown;
  };
  manifest.dependencies = Object.fromEntries(
    Object.entries(manifest.dependencies).filter(([name]) => !DROPPED_DEPENDENCIES.includes(name)),
  );
  delete manifest.allowScripts;
  // An override for a package that is no longer there is an error for some versions of npm.
  if (manifest.overrides) {
    manifest.overrides = Object.fromEntries(Object.entries(manifest.overrides).filter(([name]) => !name.startsWith('kerberos')));
  }
  fs.writeFileSync(manifestFile, JSON.stringify(manifest, null, 2));

  log('installing its dependencies (no scripts, nothing compiled)');
  // `install`, not `ci`: package.json was trimmed. The shrinkwrap pins the versions all the same.
  const install = ['install', '--omit=dev', '--ignore-scripts', '--no-bin-links', '--no-save'];
  npm(install, root);
  // The extensions folder brings `typescript`; without it the first .js or .ts file opened raises an error message.
  const extensions = path.join(root, 'extensions');
  npm(install, extensions);
  // Offline; removes what the server build does not use.
  execFileSync(process.execPath, ['postinstall.mjs'], { cwd: extensions, stdio: ['ignore', 'ignore', 'inherit'] });

  for (const [name, source] of Object.entries(SHIMS)) {
    const folder = path.join(root, 'node_modules', name);
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(path.join(folder, 'index.js'), source);
    fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, version: '0.0.0-shim', main: 'index.js' }));
  }
  // These two ship binaries for every platform.
  keepOnly(path.join(root, 'node_modules/@vscode/ripgrep-universal/bin'), `linux-${process.arch}`);
  keepOnly(path.join(root, 'node_modules/node-pty/prebuilds'), `linux-${process.arch}`);
  fs.rmSync(path.join(root, 'node_modules/node-pty/third_party'), { recursive: true, force: true });

  const workbench = path.join(root, WORKBENCH);
  let source = fs.readFileSync(workbench, 'utf8');
  for (const { name, find, put } of PATCHES) {
    const hits = source.match(new RegExp(find.source, 'g'))?.length ?? 0;
    if (hits !== 1) throw new Error(`The patch "${name}" of the VS Code server matches ${hits} times, not once.`);
    source = source.replace(find, put);
  }
  fs.writeFileSync(workbench, source);

  // The integrated terminal's `code` command; code-server's install script makes the same link.
  const cli = path.join(root, 'bin/remote-cli/code-server');
  fs.rmSync(cli, { force: true });
  fs.symlinkSync('code-linux.sh', cli);
}

function keepOnly(folder: string, name: string): void {
  if (!fs.existsSync(folder)) return;
  for (const entry of fs.readdirSync(folder)) if (entry !== name) fs.rmSync(path.join(folder, entry), { recursive: true });
}

/** Runs npm without what an outer `npm run` or `npm test` put into the environment about its own package and options. */
function npm(args: readonly string[], cwd: string): void {
  const inherited = Object.entries(process.env).filter(
    ([key]) =>
      !/^npm_(package|lifecycle|command|execpath|node_execpath|config_(local_prefix|omit|include|only|production|dry_run|global|save|workspace|workspaces|ignore_scripts|_?package_lock|call)$)/i.test(
        key,
      ),
  );
  execFileSync('npm', [...args], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...Object.fromEntries(inherited),
      npm_config_loglevel: 'error',
      npm_config_fund: 'false',
      npm_config_audit: 'false',
      npm_config_update_notifier: 'false',
    },
  });
}
