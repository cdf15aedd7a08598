import type { JobTools } from '../store/jobThread.ts';

export interface ScanParameters {
  readonly path: string;
  /** `[chain, n, hash]` that must be found beside those that checkpoints name. */
  readonly remembered: readonly (readonly [string, number, string])[];
  /** `[chain, n, hash]` of the last entry of a chain before those that are here: what was left out of an export. */
  readonly starts: readonly (readonly [string, number, string])[];
  /** Faults of one kind that are told one by one; more are counted. */
  readonly maxFaults: number;
  /** Length of a slice, milliseconds. */
  readonly sliceMs: number;
}

/** A link of a chain that does not hold. Numbers are those of entries in their chain. */
export interface BrokenLink {
  readonly kind: 'edited' | 'index' | 'inserted' | 'reordered' | 'missing';
  readonly chain: string;
  readonly from: number;
  readonly to: number;
  /** Position in the database of the entry at fault, or of the one behind a gap. */
  readonly seq: number;
  /** Time of that entry, milliseconds since the epoch, as it says. */
  readonly at: number;
}

/** What is known of a chain after all its entries were read. */
export interface ScannedChain {
  readonly chain: string;
  readonly entries: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** Number of the last entry. */
  readonly n: number;
  readonly hash: string;
  /** Whether the last entry says that the window closed. */
  readonly stopped: boolean;
  /** Calls without an outcome; the first hundred by their exchange. */
  readonly open: number;
  readonly openExchanges: readonly string[];
}

export interface Scan {
  readonly entries: number;
  readonly chains: readonly ScannedChain[];
  readonly broken: readonly BrokenLink[];
  /** How many more there are than `broken` tells. */
  readonly more: number;
  readonly checkpoints: readonly { readonly id: number; readonly jws: string; readonly digest: string }[];
  /** Hash found at a place that a checkpoint or the memory names; absent where nothing stands. Keyed `chain n`. */
  readonly found: ReadonlyMap<string, string>;
}

/**
 * Reads every entry once, in one view of the database, and follows each chain from link to link. What has to be kept is a state for each
 * chain and the hashes at the places that checkpoints name. A {@link Job}: stands alone. Yields the share that is done, 0 to 1.
 */
export function* scanChains(tools: JobTools, parameters: ScanParameters): Generator<number, Scan> {
  interface State {
    n: number;
    hash: string;
    entries: number;
    firstAt: number;
    lastAt: number;
    stopped: boolean;
    /** Numbers that were passed over, with the seq and time of the entry behind them. */
    gaps: { from: number; to: number; seq: number; at: number }[];
    open: Set<string>;
    dropped: { n: number; hash: string } | undefined;
    needed: Set<number> | undefined;
  }
  interface Payload {
    readonly heads?: readonly (readonly [string, number, string])[];
    readonly dropped?: { readonly chains: readonly (readonly [string, number, string])[] };
  }
  const { DatabaseSync } = tools.sqlite;
  const { hash } = tools.crypto;
  const { maxFaults, sliceMs } = parameters;
  const db = new DatabaseSync(parameters.path, { readOnly: true, timeout: 2000 });
  try {
    // One view for checkpoints and entries: what another window signs or drops meanwhile is not seen.
    db.exec('BEGIN');
    const needed = new Map<string, Set<number>>();
    const dropped = new Map<string, { n: number; hash: string }>();
    const need = (chain: string, n: number) => {
      const of = needed.get(chain);
      if (of) of.add(n);
      else needed.set(chain, new Set([n]));
    };
    const checkpoints: { id: number; jws: string; digest: string }[] = [];
    for (const row of db.prepare('SELECT id, jws FROM checkpoint ORDER BY id').iterate()) {
      const jws = String(row['jws']);
      checkpoints.push({ id: Number(row['id']), jws, digest: hash('sha256', jws) });
      let payload: Payload = {};
      try {
        payload = JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8')) as Payload;
      } catch {
        // Its signature will not hold either.
      }
      for (const [chain, n] of payload.heads ?? []) need(chain, n);
      for (const [chain, n, last] of payload.dropped?.chains ?? [])
        if ((dropped.get(chain)?.n ?? 0) < n) dropped.set(chain, { n, hash: last });
    }
    for (const [chain, n] of parameters.remembered) need(chain, n);
    for (const [chain, n, last] of parameters.starts) if ((dropped.get(chain)?.n ?? 0) < n) dropped.set(chain, { n, hash: last });

    const range = db.prepare('SELECT (SELECT min(seq) FROM audit) AS low, (SELECT max(seq) FROM audit) AS high').get() ?? {};
    const [low, high] = [Number(range['low'] ?? 0), Number(range['high'] ?? 0)];
    const states = new Map<string, State>();
    const found = new Map<string, string>();
    const broken: BrokenLink[] = [];
    let more = 0;
    const counts = new Map<string, number>();
    const report = (link: BrokenLink) => {
      const count = (counts.get(link.kind) ?? 0) + 1;
      counts.set(link.kind, count);
      if (count <= maxFaults) broken.push(link);
      else more++;
    };
    /** What the columns `server` and `tool` repeat of the text; also where the text has halves of characters, which SQLite replaces. */
    const agrees = (kind: string, server: unknown, tool: unknown, body: string): boolean => {
      try {
        const value = JSON.parse(body) as { server?: string; tool?: string };
        return (
          server === (value.server?.toWellFormed() ?? null) && tool === (kind === 'intent' ? (value.tool?.toWellFormed() ?? null) : null)
        );
      } catch {
        return false;
      }
    };

    let entries = 0;
    let until = performance.now() + sliceMs;
    const rows = db
      .prepare(
        `SELECT seq, chain, n, at, kind, exchange, hash, server, tool, body,
          CASE kind WHEN 'act' THEN CASE WHEN json_valid(body) THEN json_extract(body, '$.act') END END AS act,
          CASE WHEN kind = 'outcome' THEN server IS NULL AND tool IS NULL
            WHEN json_valid(body) THEN json_extract(body, '$.server') IS server AND (CASE kind WHEN 'intent' THEN json_extract(body, '$.tool') END) IS tool
            ELSE 0 END AS agrees
        FROM audit ORDER BY seq`,
      )
      .iterate();
    for (const row of rows) {
      if (++entries % 256 === 0 && performance.now() >= until) {
        yield high > low ? (Number(row['seq']) - low) / (high - low) : 0;
        until = performance.now() + sliceMs;
      }
      const seq = row['seq'] as number;
      const chain = row['chain'] as string;
      const n = row['n'] as number;
      const at = row['at'] as number;
      const kind = row['kind'] as string;
      const exchange = row['exchange'] as string | null;
      const stored = row['hash'] as string;
      const body = row['body'] as string;
      let state = states.get(chain);
      if (!state) {
        state = {
          n: 0,
          hash: '',
          entries: 0,
          firstAt: at,
          lastAt: at,
          stopped: false,
          gaps: [],
          open: new Set(),
          dropped: dropped.get(chain),
          needed: needed.get(chain),
        };
        // What retention dropped is not missing; of an entry that should be gone too, the one before it is not known.
        if (state.dropped && n > 1) {
          state.n = Math.min(n - 1, state.dropped.n);
          state.hash = n === state.dropped.n + 1 ? state.dropped.hash : '?';
        }
        states.set(chain, state);
      }
      state.entries++;
      if (state.needed?.has(n) === true) found.set(`${chain} ${n}`, stored);
      if (n <= state.n) {
        const gap = state.gaps.find((g) => n >= g.from && n <= g.to);
        report({ kind: gap ? 'reordered' : 'inserted', chain, from: n, to: n, seq, at });
        if (gap) {
          state.gaps.splice(state.gaps.indexOf(gap), 1);
          if (n > gap.from) state.gaps.push({ ...gap, to: n - 1 });
          if (n < gap.to) state.gaps.push({ ...gap, from: n + 1 });
        }
        continue;
      }
      const follows = n === state.n + 1;
      if (!follows) state.gaps.push({ from: state.n + 1, to: n - 1, seq, at });
      if (
        follows &&
        state.hash !== '?' &&
        hash('sha256', `${state.hash}\n${chain}\n${n}\n${at}\n${kind}\n${exchange ?? ''}\n${body}`) !== stored
      )
        report({ kind: 'edited', chain, from: n, to: n, seq, at });
      else if (row['agrees'] !== 1 && !(kind !== 'outcome' && agrees(kind, row['server'], row['tool'], body)))
        report({ kind: 'index', chain, from: n, to: n, seq, at });
      state.n = n;
      state.hash = stored;
      state.lastAt = at;
      state.stopped = row['act'] === 'stopped';
      if (exchange !== null) {
        if (kind === 'intent') state.open.add(exchange);
        else if (kind === 'outcome') state.open.delete(exchange);
      }
    }
    for (const [chain, { gaps }] of states)
      for (const { from, to, seq, at } of gaps.sort((a, b) => a.from - b.from)) report({ kind: 'missing', chain, from, to, seq, at });
    db.exec('COMMIT');
    return {
      entries,
      chains: [...states].map(([chain, s]) => ({
        chain,
        entries: s.entries,
        firstAt: s.firstAt,
        lastAt: s.lastAt,
        n: s.n,
        hash: s.hash,
        stopped: s.stopped,
        open: s.open.size,
        openExchanges: [...s.open].slice(0, 100),
      })),
      broken,
      more,
      checkpoints,
      found,
    };
  } finally {
    db.close();
  }
}
