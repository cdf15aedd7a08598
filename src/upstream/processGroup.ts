import { spawn, type ChildProcess } from 'node:child_process';
import { codeOf } from '../common/errors.ts';

/**
 * Processes that must not outlive this one. One list for the process, since it needs one listener for its end: an editor that closes does not
 * wait for timers.
 */
const running = new Set<ChildProcess>();

function killAll(): void {
  for (const child of running) killGroup(child, 'SIGKILL');
}

/** Kills a process, and what it started, should our own end come first. Call the result once it has ended by itself. */
export function killOnExit(child: ChildProcess): () => void {
  if (running.size === 0) process.on('exit', killAll);
  running.add(child);
  return () => {
    running.delete(child);
    if (running.size === 0) process.off('exit', killAll);
  };
}

/**
 * Sends a signal to a process that was started `detached` and to all that it started. Windows knows neither
 * groups nor signals: there the whole tree is ended at once.
 */
export function killGroup(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): void {
  const { pid } = child;
  if (pid === undefined) return;
  if (process.platform === 'win32') {
    if (child.exitCode !== null || child.signalCode !== null) return;
    spawn('taskkill', ['/pid', String(pid), '/T', '/F'], { stdio: 'ignore', windowsHide: true }).on('error', () => child.kill('SIGKILL'));
  } else signalGroup(pid, signal);
}

/** Whether a process that was started `detached`, or anything it started, still runs. */
export function isAlive(child: ChildProcess): boolean {
  if (child.pid === undefined) return false;
  return process.platform === 'win32' ? child.exitCode === null && child.signalCode === null : signalGroup(child.pid, 0);
}

function signalGroup(pid: number, signal: 'SIGTERM' | 'SIGKILL' | 0): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch (error) {
    // ESRCH: none is left. macOS says EPERM where only ended ones are left.
    if (codeOf(error) === 'ESRCH' || codeOf(error) === 'EPERM') return false;
    throw error;
  }
}
