/**
 * The bridge: an MCP server on stdio for the agent that starts it, a client of the tunnel behind it. One file after bundling, nothing but
 * Node's own modules.
 *
 *     ELECTRON_RUN_AS_NODE=1 <node or editor> bridge.cjs --server <id> [--capability <stem>] [--runtime <folder>]
 */
import { endpointPath } from '../common/capabilityFile.ts';
import { currentEnvironment, runtimeFolderCandidates } from '../common/runtimeFolder.ts';
import { isId } from './capability.ts';
import { LIMITS } from './limits.ts';
import { Relay } from './relay.ts';
import { LineSplitter, Output } from './stdio.ts';

/** How often the parent is looked for, milliseconds. */
const PARENT_CHECK_MS = 3_000;
/** How long the last lines may take to reach the agent, milliseconds. */
const FLUSH_MS = 500;
const USAGE = 'usage: bridge --server <id> [--capability <stem>] [--runtime <folder>]';

function log(line: string): void {
  process.stderr.write(`culvert-bridge: ${line}\n`);
}

/** The options of the command line, or `undefined` if they are not as they should be. */
function readArguments(
  args: readonly string[],
): { server: string; capability: string | undefined; runtime: string | undefined } | undefined {
  const options = new Map<string, string>();
  for (let i = 0; i < args.length; i += 2) {
    const name = args[i] ?? '';
    const value = args[i + 1];
    if (!['--server', '--capability', '--runtime'].includes(name) || value === undefined) return undefined;
    options.set(name, value);
  }
  const server = options.get('--server');
  const capability = options.get('--capability');
  if (server === undefined || !isId(server) || (capability !== undefined && !isId(capability))) return undefined;
  return { server, capability, runtime: options.get('--runtime') };
}

function run(): void {
  const options = readArguments(process.argv.slice(2));
  if (!options) {
    log(USAGE);
    process.exitCode = 2;
    return;
  }
  const surroundings = currentEnvironment();
  const folders = [...(options.runtime === undefined ? [] : [options.runtime]), ...runtimeFolderCandidates(surroundings)];
  const { uid } = surroundings;
  // Nothing below needs the environment, and an agent's environment is full of other tools' keys.
  for (const name of Object.keys(process.env)) Reflect.deleteProperty(process.env, name);

  const { stdin, stdout } = process;
  const relay = new Relay({
    search: { folders, server: options.server, stem: options.capability, uid },
    path: endpointPath(options.server),
    output: new Output(stdout),
    limits: LIMITS,
    log,
    onPressure: (paused) => (paused ? stdin.pause() : stdin.resume()),
  });
  const splitter = new LineSplitter(LIMITS.messageBytes);
  let leaving = false;
  const leave = async (): Promise<void> => {
    if (leaving) return;
    leaving = true;
    await relay.close();
    setTimeout(() => process.exit(0), FLUSH_MS);
    stdout.end(() => process.exit(0));
  };
  stdin.on('data', (chunk: Buffer) => {
    for (const line of splitter.push(chunk)) relay.accept(line);
  });
  for (const event of ['end', 'close', 'error']) stdin.once(event, () => void leave());
  // The reader is gone (EPIPE): there is nobody left to talk to.
  stdout.on('error', () => process.exit(0));
  process.stderr.on('error', () => undefined);
  process.on('uncaughtException', (error) => {
    log(error.message);
    process.exit(1);
  });
  if (process.platform !== 'win32') {
    const parent = process.ppid;
    setInterval(() => {
      if (process.ppid !== parent) process.exit(0);
    }, PARENT_CHECK_MS).unref();
  }
}

run();
