import type { Period } from '../../audit/spanJobs.ts';
import { askChoice, askText, single } from '../steps.ts';

const DAY_MS = 24 * 60 * 60_000;
const DATE = /^\d{4}-\d{2}-\d{2}$/;

/** A period, and how it is called. */
export interface NamedPeriod extends Period {
  readonly name: string;
  /** Whether it is all that there is. */
  readonly all: boolean;
}

/** Asks for a period in local time. `undefined` if the user gave up. */
export async function askPeriod(title: string, now: number): Promise<NamedPeriod | undefined> {
  const today = startOf(now);
  const choice = await askChoice(single(title), 'Which period?', [
    { label: 'Everything', description: 'all that is on record', value: 'all' as const },
    { label: 'Today', value: 'today' as const },
    { label: 'The last 7 days', value: 'week' as const },
    { label: 'The last 30 days', value: 'month' as const },
    { label: 'From one day to another…', value: 'days' as const },
  ]);
  if (choice.kind !== 'value') return undefined;
  switch (choice.value) {
    case 'all':
      return { from: 0, to: Number.MAX_SAFE_INTEGER, name: 'everything', all: true };
    case 'today':
      return { from: today, to: dayAfter(today), name: dateOf(today), all: false };
    case 'week':
    case 'month':
      return lastDays(today, choice.value === 'week' ? 7 : 30);
    case 'days':
      return askDays(title, today);
  }
}

function lastDays(today: number, days: number): NamedPeriod {
  const from = startOf(today - (days - 1) * DAY_MS + DAY_MS / 2);
  return { from, to: dayAfter(today), name: `${dateOf(from)} to ${dateOf(today)}`, all: false };
}

async function askDays(title: string, today: number): Promise<NamedPeriod | undefined> {
  const ask = (prompt: string, value: string, validate: (day: number) => string | undefined) =>
    askText(single(title), {
      prompt,
      value,
      validate: (text) => {
        const day = dayOf(text);
        return day === undefined ? 'Write it as 2026-01-31.' : validate(day);
      },
    });
  const first = await ask('The first day (in local time), as 2026-01-31', dateOf(today), () => undefined);
  const from = first.kind === 'value' ? dayOf(first.value) : undefined;
  if (from === undefined) return undefined;
  const last = await ask('The last day, as 2026-01-31', dateOf(Math.max(from, today)), (day) =>
    day < from ? 'It lies before the first day.' : undefined,
  );
  const to = last.kind === 'value' ? dayOf(last.value) : undefined;
  return to === undefined ? undefined : { from, to: dayAfter(to), name: `${dateOf(from)} to ${dateOf(to)}`, all: false };
}

/** Beginning of a day that is written as 2026-01-31, in local time; `undefined` if there is no such day. */
export function dayOf(text: string): number | undefined {
  if (!DATE.test(text)) return undefined;
  const [year = 0, month = 0, day = 0] = text.split('-').map(Number);
  const date = new Date(year, month - 1, day);
  return date.getMonth() === month - 1 && date.getDate() === day ? date.getTime() : undefined;
}

/** A day as 2026-01-31, in local time. */
export function dateOf(ms: number): string {
  const date = new Date(ms);
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, '0')}-${String(date.getDate()).padStart(2, '0')}`;
}

function startOf(ms: number): number {
  return new Date(ms).setHours(0, 0, 0, 0);
}

/** Not always 24 hours later. */
function dayAfter(start: number): number {
  const date = new Date(start);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTime();
}
