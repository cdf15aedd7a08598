import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import type { StopSignal } from '../../common/stop.ts';
import { Database } from '../../store/database.ts';
import { Checkpoints } from '../checkpoints.ts';
import { parseBody, type Act, type Intent, type Outcome } from '../record.ts';
import { verifyRecord, type Verification } from '../verification.ts';
import type { AuditEvent } from './event.ts';
import { importLines, type Imported } from './importLines.ts';
import { readEvents } from './readEvents.ts';

/** An export as it was found: what it says, and whether it holds. */
export interface Review {
  readonly imported: Imported;
  readonly verification: Verification;
  /** Calls and acts, in the order in which they were over. Only what can be read as such. */
  readonly events: readonly AuditEvent[];
  /** How many more there are; the oldest are left out. */
  readonly more: number;
}

/** Events that a review gives. */
const MAX_SHOWN = 5_000;

/**
 * Reads an export for looking at it. It goes into a database of its own that is removed afterwards; nothing of it touches the record here.
 * What is verified is the export against the key that it names. Rejects with AuditError, or an `AbortError` when stopped.
 */
export async function reviewExport(
  file: string,
  clock: Clock,
  options: { readonly signal?: StopSignal; onProgress?(done: number): void } = {},
): Promise<Review> {
  const folder = await mkdtemp(join(tmpdir(), 'culvert-review-'));
  try {
    const path = join(folder, 'review.db');
    const imported = await importLines(file, path, options.signal);
    const db = Database.open(path);
    try {
      // The public key is all that checking needs; nothing is signed with it.
      const keeper = {
        get: async (name: string) => (name === 'signing-key' ? JSON.stringify(imported.key) : undefined),
        set: async () => undefined,
      };
      const checkpoints = new Checkpoints(db, keeper, clock);
      const verification = await verifyRecord({
        path,
        checkpoints,
        part: { starts: imported.starts, whole: imported.whole },
        signal: options.signal,
        onProgress: (done) => options.onProgress?.(done),
      });
      const events: AuditEvent[] = [];
      let more = 0;
      for await (const event of readEvents({
        db,
        from: 0,
        to: Number.MAX_SAFE_INTEGER,
        ...(options.signal ? { signal: options.signal } : {}),
      })) {
        const sound = soundOf(event);
        if (!sound) continue;
        events.push(sound);
        if (events.length >= 2 * MAX_SHOWN) more += events.splice(0, MAX_SHOWN).length;
      }
      if (events.length > MAX_SHOWN) more += events.splice(0, events.length - MAX_SHOWN).length;
      return { imported, verification, events, more };
    } finally {
      db.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Whoever made an export wrote what is in it: only what has the form of an entry is shown. */
function soundOf(event: AuditEvent): AuditEvent | undefined {
  if (event.kind === 'act') {
    const act = parseBody('act', JSON.stringify(event.act)) as Act | undefined;
    return act && { ...event, act };
  }
  const intent = parseBody('intent', JSON.stringify(event.intent)) as Intent | undefined;
  const outcome = event.outcome && (parseBody('outcome', JSON.stringify(event.outcome)) as Outcome | undefined);
  return intent && { ...event, intent, outcome };
}
