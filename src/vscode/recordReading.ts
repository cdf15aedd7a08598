import type { Activity } from '../audit/activities.ts';
import type { App } from './app.ts';
import type { RecordReader } from './recordedCalls.ts';

/** Calls that are read at once: some milliseconds. */
const SLICE = 100;
/** Calls that are read at most. */
const MAX_CALLS = 20_000;

/** The calls since an instant, newest first, read in slices so that the editor stays responsive. */
export async function callsSince(app: App, since: number, stopped: () => boolean = () => false): Promise<readonly Activity[]> {
  const calls: Activity[] = [];
  let before: number | undefined;
  for (;;) {
    const slice = app.core.audit.activities({ limit: SLICE, named: true, ...(before === undefined ? {} : { before }) });
    for (const call of slice) if (call.at >= since) calls.push(call);
    const last = slice.at(-1);
    if (!last || slice.length < SLICE || last.at < since || calls.length >= MAX_CALLS || stopped()) return calls;
    before = last.seq;
    await nextTurn();
  }
}

/** What reads calls off the record of this app. */
export function readerOf({ core, principal }: App): RecordReader {
  const reading = new Map<string, ReadonlySet<string>>();
  return {
    servers: core.servers,
    credentials: core.credentials,
    principal,
    grants: core.access.all(),
    reads: (server, tool) => {
      let names = reading.get(server);
      if (!names)
        reading.set(
          server,
          (names = new Set(
            core.catalog
              .tools(server)
              .filter((t) => t.reads)
              .map((t) => t.name),
          )),
        );
      return names.has(tool);
    },
  };
}

/** Lets the event loop do what waits. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
