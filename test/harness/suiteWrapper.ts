/**
 * Runs inside the extension host of the VS Code server build, between VS Code and the project's own suite (`out/host/index.cjs`). Streams
 * what is printed, readily formatted, to a file: the forwarder of a remote extension host prints mocha's "%s" literally, and lines would
 * be lost if the browser died.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import util from 'node:util';

/** One line of the output file. */
export type HostLine =
  { readonly kind: 'output'; readonly text: string } | { readonly kind: 'host'; readonly pid: number } | { readonly kind: 'done' };

/** Called by VS Code; the suite is over when the promise settles, and has failed if it rejects. */
export async function run(): Promise<void> {
  const file = required('CULVERT_TEST_OUTPUT');
  const put = (line: HostLine) => {
    try {
      fs.appendFileSync(file, `${JSON.stringify(line)}\n`);
    } catch {
      // The run was ended and its folder removed.
    }
  };
  for (const name of ['log', 'info', 'warn', 'error', 'debug'] as const) {
    // VS Code installs these as accessors with an empty setter: an assignment would be ignored.
    const value = (...values: unknown[]) => put({ kind: 'output', text: `${util.format(...values)}\n` });
    Object.defineProperty(console, name, { configurable: true, writable: true, value });
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.write = (chunk: Uint8Array | string) => {
      put({ kind: 'output', text: typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString() });
      return true;
    };
  }
  put({ kind: 'host', pid: process.pid });
  try {
    const suite = createRequire(import.meta.url)(required('CULVERT_TEST_SUITE')) as { run(): Promise<void> };
    await suite.run();
  } finally {
    put({ kind: 'done' });
  }
}

function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}
