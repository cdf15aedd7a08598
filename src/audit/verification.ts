import { JobThread } from '../store/jobThread.ts';
import type { StopSignal } from '../common/stop.ts';
import type { Head } from './chain.ts';
import type { Remembered } from './chainMemory.ts';
import { scanChains, type BrokenLink, type Scan, type ScanParameters, type ScannedChain } from './chainScan.ts';
import type { CheckpointPayload, Checkpoints } from './checkpoints.ts';

/** Something that honest use can't leave behind. */
export interface Fault {
  readonly kind:
    | BrokenLink['kind']
    /** Entries at the end of a chain are gone. */
    | 'cut'
    | 'chain-removed'
    /** A chain holds in itself but isn't the one that was signed. */
    | 'rewritten'
    /** A chain that no window of this installation began. */
    | 'foreign-chain'
    | 'checkpoint-forged'
    | 'checkpoint-removed'
    | 'checkpoints-removed'
    /** The newest checkpoint is gone: a cut, or an older copy of the database. */
    | 'rolled-back';
  readonly chain?: string;
  /** Numbers in the chain. */
  readonly from?: number;
  readonly to?: number;
  /** Position in the database, where there is an entry to look at. */
  readonly seq?: number;
  /** Time of that place, milliseconds since the epoch. */
  readonly at?: number;
  readonly checkpoint?: number;
  /** All of it in one sentence. */
  readonly text: string;
}

/** A chain whose window did not close in order. No tampering. */
export interface Ending {
  readonly chain: string;
  readonly how: 'running' | 'crashed';
  readonly n: number;
  /** Time of its last entry, milliseconds since the epoch. */
  readonly at: number;
  /** Calls whose end is not on record; `exchanges` names the first hundred. */
  readonly open: number;
  readonly exchanges: readonly string[];
}

/** What a verification found. */
export interface Verification {
  readonly entries: number;
  readonly chains: number;
  readonly checkpoints: number;
  /** {@link faults} in words, and how many more there are. */
  readonly problems: readonly string[];
  readonly faults: readonly Fault[];
  readonly endings: readonly Ending[];
  /** Entries that retention dropped, by the signed tombstones. */
  readonly dropped: number;
}

export interface VerifyOptions {
  readonly path: string;
  readonly checkpoints: Checkpoints;
  /** Where this window's chain stands; it never counts as crashed. */
  readonly own?: { readonly chain: string; readonly head: Head };
  /** Where the record is only a part, as an export can be: what stands before it, and that its end is no cut. */
  readonly part?: { readonly starts: ScanParameters['starts']; readonly whole: boolean };
  readonly signal?: StopSignal | undefined;
  /** Share that is done, 0 to 1. */
  readonly onProgress?: ((done: number) => void) | undefined;
  /** Thread for the work. Default: one of its own. */
  readonly thread?: JobThread;
}

/** Faults of one kind that are told one by one. */
const MAX_FAULTS = 50;
/** Length of a slice where no thread can be had, milliseconds. */
const SLICE_MS = 8;
/** Share of the progress that reading the entries is; the rest is for signatures. */
const SCAN_SHARE = 0.9;

/**
 * Reads the whole record and checks every link of every chain, every signature, and what is remembered outside the database. Works in a
 * thread, with memory for the chains and the signed places only. Rejects with an `AbortError` when stopped.
 */
export async function verifyRecord(options: VerifyOptions): Promise<Verification> {
  const { checkpoints, own, signal } = options;
  // Before the entries are read: what is remembered must be among them.
  const expectedLast = await checkpoints.last();
  const remembered = new Map(await checkpoints.memory.chains());
  const places = [...remembered].filter(([, { n }]) => n > 0).map(([chain, { n, hash }]) => [chain, n, hash] as const);
  if (own && own.head.n > 0) places.push([own.chain, own.head.n, own.head.hash]);
  const thread = options.thread ?? new JobThread();
  try {
    const scan = await thread.run(
      scanChains,
      { path: options.path, remembered: places, starts: options.part?.starts ?? [], maxFaults: MAX_FAULTS, sliceMs: SLICE_MS },
      { signal, onProgress: (done) => options.onProgress?.(done * SCAN_SHARE) },
    );
    return await judge(scan, places, remembered, expectedLast, options);
  } finally {
    if (!options.thread) await thread.end();
  }
}

async function judge(
  scan: Scan,
  places: readonly (readonly [string, number, string])[],
  remembered: ReadonlyMap<string, Remembered>,
  expectedLast: string | undefined,
  { checkpoints, own, part, signal, onProgress }: VerifyOptions,
): Promise<Verification> {
  const faults: Fault[] = scan.broken.map(faultOf);
  const chains = new Map(scan.chains.map((chain) => [chain.chain, chain]));
  const digests = new Set(scan.checkpoints.map(({ digest }) => digest));
  const payloads: { readonly id: number; readonly payload: CheckpointPayload }[] = [];
  let left = 0;
  for (const { id, jws } of scan.checkpoints) {
    if (signal?.aborted) throw new DOMException('It was cancelled.', 'AbortError');
    if (++left % 100 === 0) onProgress?.(SCAN_SHARE + ((1 - SCAN_SHARE) * left) / scan.checkpoints.length);
    const payload = await checkpoints.open(jws);
    if (payload) payloads.push({ id, payload });
    else faults.push({ kind: 'checkpoint-forged', checkpoint: id, text: `Checkpoint ${id} is not signed by this installation.` });
  }

  const droppedUpTo = new Map<string, number>();
  const forgotten = new Set<string>();
  let dropped = 0;
  for (const { payload } of payloads) {
    for (const [chain, n] of payload.dropped?.chains ?? []) droppedUpTo.set(chain, Math.max(n, droppedUpTo.get(chain) ?? 0));
    for (const digest of payload.dropped?.checkpoints ?? []) forgotten.add(digest);
    dropped += payload.dropped?.entries ?? 0;
  }
  for (const [chain, n] of part?.starts ?? []) droppedUpTo.set(chain, Math.max(n, droppedUpTo.get(chain) ?? 0));

  if (scan.checkpoints.length === 0) {
    if (expectedLast !== undefined) faults.push({ kind: 'checkpoints-removed', text: 'All checkpoints were removed.' });
  } else {
    for (const { id, payload } of payloads)
      for (const named of [payload.previous, ...(payload.also ?? [])])
        if (named !== '' && !digests.has(named) && !forgotten.has(named))
          faults.push({
            kind: 'checkpoint-removed',
            checkpoint: id,
            at: payload.at,
            text: `A checkpoint before checkpoint ${id} was removed.`,
          });
    if (expectedLast !== undefined && !digests.has(expectedLast))
      faults.push({ kind: 'rolled-back', text: 'The newest checkpoint is gone: the database was cut or replaced by an older copy.' });
    else
      for (const [chain, { checkpoint }] of remembered)
        if (checkpoint !== undefined && !digests.has(checkpoint) && !forgotten.has(checkpoint)) {
          const text = 'The newest checkpoint of a window is gone: the database was cut or replaced by an older copy.';
          faults.push({ kind: 'rolled-back', chain, text });
        }
  }

  checkPlaces(faults, scan, chains, droppedUpTo, part?.whole !== false, [
    ...payloads.flatMap(({ payload }) =>
      payload.heads.map(([chain, n, hash]) => ({ chain, n, hash, at: payload.at, how: 'signed' as const })),
    ),
    ...places.map(([chain, n, hash]) => ({ chain, n, hash, at: remembered.get(chain)?.at, how: 'noted' as const })),
  ]);

  const known = new Set([
    ...payloads.flatMap(({ payload }) => payload.heads.map(([chain]) => chain)),
    ...droppedUpTo.keys(),
    ...remembered.keys(),
  ]);
  if (own) known.add(own.chain);
  const unsure = faults.some(({ kind }) => kind === 'checkpoint-removed' || kind === 'checkpoints-removed' || kind === 'rolled-back');
  if (checkpoints.memory.works)
    for (const { chain, n, firstAt } of scan.chains)
      // A window that ended in the very moment in which it began had no time to say so.
      if (!known.has(chain) && n > 1)
        faults.push({
          kind: 'foreign-chain',
          chain,
          from: 1,
          to: n,
          at: firstAt,
          text: `Chain ${chain}: no window of this installation began it; its ${n} entries were added from outside${unsure ? ', or the checkpoint that named it is one of those that are gone' : ''}.`,
        });

  const endings = scan.chains
    .filter(({ stopped }) => !stopped)
    .map(({ chain, n, lastAt, open, openExchanges }): Ending => {
      const mind = remembered.get(chain);
      const running = chain === own?.chain || (mind !== undefined && checkpoints.memory.isAlive(mind));
      return { chain, how: running ? 'running' : 'crashed', n, at: lastAt, open, exchanges: openExchanges };
    });
  onProgress?.(1);
  return {
    entries: scan.entries,
    chains: scan.chains.length,
    checkpoints: scan.checkpoints.length,
    problems: [...faults.map(({ text }) => text), ...(scan.more > 0 ? [`${scan.more} more entries are at fault.`] : [])],
    faults,
    endings,
    dropped,
  };
}

interface Place {
  readonly chain: string;
  readonly n: number;
  readonly hash: string;
  readonly at: number | undefined;
  readonly how: 'signed' | 'noted';
}

/** Holds what was signed or noted against what stands there: for each chain the first that differs and the last that is gone. */
function checkPlaces(
  faults: Fault[],
  scan: Scan,
  chains: ReadonlyMap<string, ScannedChain>,
  droppedUpTo: ReadonlyMap<string, number>,
  isWhole: boolean,
  places: readonly Place[],
): void {
  const gone = new Map<string, Place>();
  const other = new Map<string, Place>();
  for (const place of places) {
    const { chain, n } = place;
    if (n <= (droppedUpTo.get(chain) ?? 0)) continue;
    const found = scan.found.get(`${chain} ${n}`);
    if (found === place.hash) continue;
    if (found !== undefined) {
      if (n < (other.get(chain)?.n ?? Infinity)) other.set(chain, place);
      // What is missing inside a chain is told already.
    } else if (isWhole && n > (chains.get(chain)?.n ?? 0) && n > (gone.get(chain)?.n ?? 0)) gone.set(chain, place);
  }
  const when = ({ how, at }: Place) => (at === undefined ? 'written' : `${how} at ${new Date(at).toISOString()}`);
  for (const [chain, place] of other)
    faults.push({
      kind: 'rewritten',
      chain,
      from: place.n,
      to: place.n,
      ...(place.at === undefined ? {} : { at: place.at }),
      text: `Chain ${chain}: entry ${place.n} is not the one that was ${when(place)}.`,
    });
  for (const [chain, place] of gone) {
    const end = chains.get(chain);
    faults.push({
      kind: end ? 'cut' : 'chain-removed',
      chain,
      from: (end?.n ?? 0) + 1,
      to: place.n,
      ...(place.at === undefined ? {} : { at: place.at }),
      text: end
        ? `Chain ${chain}: entries up to ${place.n} were ${when(place)} but are no longer there; it ends with entry ${end.n}.`
        : `Chain ${chain}: entries up to ${place.n} were ${when(place)} but are no longer there, nor is any other entry of it.`,
    });
  }
}

function faultOf(link: BrokenLink): Fault {
  const { kind, chain, from, to, seq, at } = link;
  const where = `Chain ${chain}: `;
  const place = { kind, chain, from, to, seq, at };
  switch (kind) {
    case 'edited':
      return { ...place, text: `${where}entry ${from} was changed.` };
    case 'index':
      return { ...place, text: `${where}the index of entry ${from} does not agree with its text.` };
    case 'inserted':
      return { ...place, text: `${where}entry ${from} stands out of order: there is another one of that number, so it was put in.` };
    case 'reordered':
      return { ...place, text: `${where}entry ${from} stands out of order.` };
    case 'missing':
      return { ...place, text: `${where}entry ${from}${to > from ? ` to ${to}` : ''} is missing.` };
  }
}
