/** Something a part of the benchmark must reach. */
export interface Target {
  readonly name: string;
  readonly met: boolean;
}

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** Prints rows under a row of headings; the first `left` columns are text. */
export function printTable(rows: readonly (readonly string[])[], left = 2): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const row of rows)
    console.log(row.map((cell, column) => (column < left ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  '));
}

/** The value below which `share` of the numbers lie. They need be in no order. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

export function median(numbers: readonly number[]): number {
  return percentile(numbers, 0.5);
}

/** A size for people. */
export function sizeName(bytes: number): string {
  return bytes >= MIB ? `${bytes / MIB} MB` : `${bytes / KIB} KB`;
}

/** The items, another one first in every round, so that none always has the same one before it. */
export function rotated<T>(items: readonly T[], round: number): readonly T[] {
  const first = round % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}
