/** A tree as it is now. Rows are objects that stay the same as long as what they stand for is listed: VS Code knows them by identity. */
export interface RowSource<T> {
  idOf(row: T): string;
  /** Everything that can be seen of a row, as text; `undefined` if what it stands for is gone. */
  looksOf(row: T): string | undefined;
  /** The rows below a row, or on top. */
  rowsBelow(row?: T): readonly T[];
}

interface Shown {
  /** Absent: VS Code has not drawn it yet. */
  looks?: string | undefined;
  /** Ids of the rows below; absent: VS Code has not asked for them. */
  below?: string;
}

/**
 * What VS Code has of a tree, and what it must draw again. Of a row that is drawn again VS Code forgets the rows below until it has asked for
 * them again: a button that is pressed on one of them meanwhile does not say which row it means. So a row is drawn again only if it looks
 * different itself, or if rows below it came, went or moved.
 */
export class ShownRows<T> {
  readonly #source: RowSource<T>;
  readonly #shown = new Map<string, Shown>();
  /** Ids of the rows on top; `undefined` until VS Code asks for them. */
  #top: string | undefined;

  constructor(source: RowSource<T>) {
    this.#source = source;
  }

  /** VS Code asks for rows. */
  asked(rows: readonly T[], above?: T): void {
    const ids = this.#idsOf(rows);
    if (above === undefined) this.#top = ids;
    else this.#of(above).below = ids;
  }

  /** VS Code draws a row. */
  drawn(row: T): void {
    this.#of(row).looks = this.#source.looksOf(row);
  }

  /** A row does not look as it was drawn, whatever the source says: a click changed it. */
  spoil(row: T): void {
    this.#of(row).looks = '';
  }

  /** The rows to draw again, each with all that is below it; `undefined` for the whole tree. */
  changes(): readonly T[] | undefined {
    if (this.#top === undefined) return [];
    const top = this.#source.rowsBelow();
    if (this.#idsOf(top) !== this.#top) {
      this.#shown.clear();
      return undefined;
    }
    const changed: T[] = [];
    this.#compare(top, changed);
    return changed;
  }

  #compare(rows: readonly T[], changed: T[]): void {
    for (const row of rows) {
      const shown = this.#shown.get(this.#source.idOf(row));
      if (!shown) continue;
      const below = shown.below === undefined ? undefined : this.#source.rowsBelow(row);
      const isSame = shown.looks === undefined || shown.looks === this.#source.looksOf(row);
      if (!isSame || (below !== undefined && this.#idsOf(below) !== shown.below)) changed.push(row);
      else if (below !== undefined) this.#compare(below, changed);
    }
  }

  #of(row: T): Shown {
    const id = this.#source.idOf(row);
    let shown = this.#shown.get(id);
    if (!shown) this.#shown.set(id, (shown = {}));
    return shown;
  }

  #idsOf(rows: readonly T[]): string {
    return rows.map((row) => this.#source.idOf(row)).join('\n');
  }
}
