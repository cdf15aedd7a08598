import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { dirname } from 'node:path';
import { bridgedServer, type Entry } from './entry.ts';
import { takeSnapshot, type Snapshot } from './drift.ts';
import type { Location } from './locate.ts';
import { nodeFiles } from './nodeFiles.ts';

/** What an own bridge is started by, whole: anything else only looks like it. */
export interface OwnBridges {
  /** Executables of the editor. */
  readonly commands: readonly string[];
  /** Absolute paths of the bridge. */
  readonly scripts: readonly string[];
}

/** What a look at this machine needs. Plain data: it goes to a thread. */
export interface SnapshotJob {
  readonly locations: readonly Location[];
  readonly home: string;
  readonly own: OwnBridges;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Whether an entry starts Culvert's own bridge and nothing else: by its whole command, not by a name in it. */
export function startsOwnBridge(entry: Pick<Entry, 'command' | 'args' | 'url'>, { commands, scripts }: OwnBridges): boolean {
  const { command, args, url } = entry;
  const [script, option, server] = args;
  return (
    url === undefined &&
    command !== undefined &&
    commands.includes(command) &&
    args.length === 3 &&
    script !== undefined &&
    scripts.includes(script) &&
    option === '--server' &&
    server !== undefined &&
    bridgedServer(entry) === server
  );
}

/** Takes the snapshot; in a thread, because a client's file may be megabytes of history. */
export function runSnapshotJob({ locations, home, own, at }: SnapshotJob): Promise<Snapshot> {
  const contextOf = (location: Location) => ({
    surroundings: { platform: process.platform, home, env: {} },
    workspaceFolder: dirname(location.path),
  });
  return takeSnapshot(nodeFiles, locations, contextOf, (entry) => startsOwnBridge(entry, own), at);
}

if (!isMainThread && parentPort) {
  const port = parentPort;
  void runSnapshotJob(workerData as SnapshotJob).then(
    (snapshot) => port.postMessage({ snapshot }),
    () => port.postMessage({}),
  );
}
