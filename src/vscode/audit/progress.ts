import * as vscode from 'vscode';

/** What long work gets: when to stop, and whom to tell how far it is (0 to 1). */
export interface Work {
  readonly signal: AbortSignal;
  readonly onProgress: (done: number) => void;
}

/** Runs long work with a notification that tells how far it is and can be cancelled. `undefined` if it was. */
export async function withShare<T>(title: string, work: (tools: Work) => Promise<T>): Promise<T | undefined> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    async (progress, token): Promise<T | undefined> => {
      const stop = new AbortController();
      token.onCancellationRequested(() => stop.abort());
      let shown = 0;
      const onProgress = (done: number) => {
        const percent = Math.floor(done * 100);
        if (percent <= shown) return;
        progress.report({ increment: percent - shown, message: `${percent} %` });
        shown = percent;
      };
      try {
        return await work({ signal: stop.signal, onProgress });
      } catch (error) {
        if (stop.signal.aborted) return undefined;
        throw error;
      }
    },
  );
}

/** A number as people read it: `1,234`. */
export function count(of: number): string {
  return of.toLocaleString('en-US');
}

/** A number of things: `1 entry`, `1,234 entries`. */
export function counted(of: number, one: string, many = `${one}s`): string {
  return `${count(of)} ${of === 1 ? one : many}`;
}

/** A time in UTC, as all documents of the record give it. */
export function utc(ms: number): string {
  return `${new Date(ms).toISOString().replace('T', ' ').slice(0, 19)} UTC`;
}
