/** A stretch of a text: UTF-16 code units from the start, as in an editor's document. */
export interface Span {
  readonly offset: number;
  readonly length: number;
}

/** One change of a text: `length` code units at `offset` are replaced by `text`. Offsets are those of the text before any change. */
export interface TextEdit extends Span {
  readonly text: string;
}

/** A place for people: line and column from 1, columns in UTF-16 code units. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** The span from `start` up to, not including, `end`. */
export function between(start: number, end: number): Span {
  return { offset: start, length: end - start };
}

/** First code unit after a span. */
export function endOf(span: Span): number {
  return span.offset + span.length;
}

/** What stands in a span. */
export function sliceOf(text: string, span: Span): string {
  return text.slice(span.offset, endOf(span));
}

/** Line and column of an offset; line ends are LF, CRLF or a lone CR. */
export function positionAt(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  const lines = before.split(/\r\n|\r|\n/);
  return { line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1 };
}

/** Edits in the order of their places. Throws RangeError if two overlap or one reaches beyond the text. */
export function orderEdits(text: string, edits: readonly TextEdit[]): TextEdit[] {
  const ordered = edits.toSorted((a, b) => a.offset - b.offset || a.length - b.length);
  let end = 0;
  for (const edit of ordered) {
    if (edit.offset < end || edit.length < 0 || endOf(edit) > text.length) throw new RangeError('These edits do not fit the text.');
    end = endOf(edit);
  }
  return ordered;
}

/** The text after all edits. Throws as {@link orderEdits}. */
export function applyEdits(text: string, edits: readonly TextEdit[]): string {
  let result = '';
  let at = 0;
  for (const edit of orderEdits(text, edits)) {
    result += text.slice(at, edit.offset) + edit.text;
    at = endOf(edit);
  }
  return result + text.slice(at);
}

/** Edits of the changed text that give back the text before, exactly. They hold what was removed: keep them in memory only. */
export function inverseEdits(text: string, edits: readonly TextEdit[]): TextEdit[] {
  let shift = 0;
  return orderEdits(text, edits).map((edit) => {
    const inverse = { offset: edit.offset + shift, length: edit.text.length, text: sliceOf(text, edit) };
    shift += edit.text.length - edit.length;
    return inverse;
  });
}
