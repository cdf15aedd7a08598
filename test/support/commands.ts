import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { commandDigest, type CommandPlace } from '../../src/mcp/server.ts';
import { until } from '../harness/until.ts';
import { temporaryFolder } from './folders.ts';

const require = createRequire(import.meta.url);

/** A command as the user has confirmed it. */
export function confirmed(place: Omit<CommandPlace, 'kind' | 'confirmed'>): CommandPlace {
  const whole: CommandPlace = { kind: 'stdio', ...place };
  return { ...whole, confirmed: commandDigest(whole) };
}

/** A script of `test/fixtures`, run with the Node of the tests. */
export function fixture(name: 'stdioPeer.ts' | 'modernPeer.ts', ...args: string[]): CommandPlace {
  return confirmed({ command: process.execPath, args: [join(import.meta.dirname, '../fixtures', name), ...args] });
}

/** The program of a package, run with the Node of the tests. */
export function packaged(script: string, ...args: string[]): CommandPlace {
  return confirmed({ command: process.execPath, args: [require.resolve(script), ...args] });
}

/** A file in which processes note what happens to them. */
export class Notes {
  readonly #folder = temporaryFolder();
  readonly path = join(this.#folder.path, 'notes');

  lines(): string[] {
    try {
      return readFileSync(this.path, 'utf8')
        .split('\n')
        .filter((line) => line !== '');
    } catch {
      return [];
    }
  }

  /** Resolves once a line says so; another process writes it. */
  async has(line: string): Promise<void> {
    await until(() => this.lines().includes(line), { what: `the note ${line}`, intervalMs: 10 });
  }

  /** Process ids that were noted, once there are so many. */
  pids(count: number): Promise<number[]> {
    return until(
      () => {
        const found = this.lines().flatMap((line) => (line.startsWith('pid ') ? [Number(line.slice(4))] : []));
        return found.length >= count ? found : undefined;
      },
      { what: `${count} processes`, intervalMs: 10 },
    );
  }

  remove(): void {
    this.#folder.remove();
  }
}

/** Whether a process runs; an ended one that nobody has waited for yet does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return process.platform !== 'linux';
  }
}

/** Resolves once none of these processes runs. */
export async function ended(pids: readonly number[], timeoutMs = 30_000): Promise<void> {
  await until(() => !pids.some(isRunning), { what: `the end of ${pids.join(', ')}`, intervalMs: 20, timeoutMs });
}
