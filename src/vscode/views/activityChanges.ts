import type { ActivityRow, CallRow, ConversationRow, DayRow } from './activityRows.ts';

/** How a row looks: its own words, and the ids of the rows below; absent: those are not loaded. */
export interface RowLooks {
  readonly own: string;
  readonly below?: string;
}

/** What every loaded row looks like; `undefined` stands for the whole tree. */
export type TreeLooks = ReadonlyMap<ActivityRow | undefined, RowLooks>;

/** What of a tree is loaded. */
export interface LoadedRows {
  readonly days: readonly DayRow[];
  /** Whether there are more days. */
  readonly more: boolean;
  readonly conversations: ReadonlyMap<DayRow, readonly ConversationRow[]>;
  readonly calls: ReadonlyMap<ConversationRow, { readonly rows: readonly CallRow[]; readonly next: number | undefined }>;
}

/** What every loaded row looks like. */
export function looksOf({ days, more, conversations, calls }: LoadedRows): TreeLooks {
  const looks = new Map<ActivityRow | undefined, RowLooks>();
  const ids = (rows: readonly ActivityRow[] | undefined, goesOn = false) =>
    rows === undefined ? {} : { below: `${rows.map(({ id }) => id).join('\n')} ${goesOn}` };
  const own = ({ face }: ActivityRow) => JSON.stringify(face);
  looks.set(undefined, { own: '', ...ids(days, more) });
  for (const day of days) looks.set(day, { own: own(day), ...ids(conversations.get(day)) });
  for (const rows of conversations.values())
    for (const row of rows) {
      const below = calls.get(row);
      looks.set(row, { own: own(row), ...ids(below?.rows, below?.next !== undefined) });
      for (const call of below?.rows ?? []) looks.set(call, { own: own(call) });
    }
  return looks;
}

/** What must be drawn again. */
export interface Redraws {
  /** Now: rows came, went, moved or look different. A row stands for all that is below it. */
  readonly now: readonly (ActivityRow | undefined)[];
  /** When there is time: only what an unfolded row counts is different. */
  readonly later: readonly ActivityRow[];
}

/**
 * Compares how a tree looked with how it looks. VS Code forgets what is below a row that is drawn again until it has asked for it again, so that
 * a button pressed there meanwhile does not say which row it means. With every call the numbers of its day change: were the day drawn again each
 * time, that would happen to all that was called on it.
 */
export function redraws(before: TreeLooks, after: TreeLooks, parentOf: (row: ActivityRow) => ActivityRow | undefined): Redraws {
  const now = new Set<ActivityRow | undefined>();
  const later: ActivityRow[] = [];
  for (const [row, looks] of after) {
    const old = before.get(row);
    if (old?.own === looks.own && old.below === looks.below) continue;
    if (row === undefined || old === undefined || old.below !== looks.below || looks.below === undefined) now.add(row);
    else later.push(row);
  }
  if (now.has(undefined)) return { now: [undefined], later: [] };
  return { now: topmost(now, parentOf), later: later.filter((row) => !isCovered(row, now, parentOf)) };
}

/** The rows that are below no other of them. */
export function topmost<T extends ActivityRow | undefined>(
  rows: ReadonlySet<T>,
  parentOf: (row: ActivityRow) => ActivityRow | undefined,
): T[] {
  return [...rows].filter((row) => row === undefined || !isCovered(row, rows, parentOf, true));
}

/** Whether a row is among others, or below one of them. */
function isCovered(
  row: ActivityRow,
  rows: ReadonlySet<ActivityRow | undefined>,
  parentOf: (row: ActivityRow) => ActivityRow | undefined,
  strictly = false,
): boolean {
  if (!strictly && rows.has(row)) return true;
  const parent = parentOf(row);
  return parent !== undefined && isCovered(parent, rows, parentOf);
}
