import * as z from 'zod/mini';

/**
 * What the panel and the extension say to each other; both check it. The panel gets sums, and of calls only what a row shows: nothing that
 * the record does not hold.
 */

/** Servers that are told apart; the rest is one. */
export const MAX_SERVERS = 8;
/** Tools that the picture of hours shows. */
export const MAX_TOOLS = 12;
/** Bins of the timeline. */
export const MAX_BINS = 60;
/** Rows of a page of the list. */
export const PAGE = 50;
const MAX_ROWS = 200;

const text = (max: number) => z.string().check(z.maxLength(max));
const count = z.number().check(z.nonnegative());
const id = text(300);

export const SPANS = ['hour', 'day', 'week', 'month', 'all'] as const;
export const Span = z.enum(SPANS);
export type Span = z.infer<typeof Span>;

export const Range = z.object({ from: z.number(), to: z.number() });
export type Range = z.infer<typeof Range>;

export const END_NAMES = ['ok', 'failed', 'stopped', 'denied'] as const;
const End = z.enum(END_NAMES);
export type End = z.infer<typeof End>;

/** From the panel. `serial` comes back with the answer: only the last one counts. */
export const FromPanel = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ready') }),
  z.object({
    kind: z.literal('query'),
    serial: z.number(),
    span: Span,
    server: z.optional(id),
    /** Part of the span that everything but the timeline is about. */
    selection: z.optional(Range),
  }),
  z.object({ kind: z.literal('list'), serial: z.number(), range: Range, server: z.optional(id), before: z.optional(z.number()) }),
  z.object({ kind: z.literal('open'), exchange: id }),
  z.object({ kind: z.literal('addServer') }),
]);
export type FromPanel = z.infer<typeof FromPanel>;

const Row = z.object({
  exchange: id,
  at: z.number(),
  name: text(200),
  server: text(200),
  /** How it went, in words; `running` has no end yet. */
  words: text(60),
  end: z.enum([...END_NAMES, 'running']),
  ms: z.optional(z.number()),
  findings: count,
});
export type Row = z.infer<typeof Row>;

/** What the pictures show. */
export const Summary = z.object({
  kind: z.literal('summary'),
  serial: z.number(),
  /** Whether anything at all is on the record. */
  any: z.boolean(),
  /** Entries of the record that the index does not have yet. */
  behind: count,
  /** Every server of the span with its name, the most called first; the last may stand for all others (`id` empty). */
  servers: z.array(z.object({ id, label: text(200) })).check(z.maxLength(MAX_SERVERS + 1)),
  range: Range,
  /** Beginnings of the bins, and the end of the last. */
  bins: z.array(z.number()).check(z.maxLength(MAX_BINS + 3)),
  cells: z
    .array(z.object({ bin: count, server: count, end: End, calls: count, findings: count }))
    .check(z.maxLength((MAX_BINS + 2) * (MAX_SERVERS + 1) * END_NAMES.length)),
  ends: z.array(z.object({ end: End, calls: count, findings: count })).check(z.maxLength(END_NAMES.length)),
  exact: z.boolean(),
  tools: z
    .array(z.object({ server: text(200), tool: text(200), hours: z.array(count).check(z.length(24)), calls: count }))
    .check(z.maxLength(MAX_TOOLS)),
  moreTools: count,
  latency: z.array(z.object({ below: z.number(), calls: count })).check(z.maxLength(40)),
  credentials: z.array(z.object({ name: text(200), calls: count, last: z.number() })).check(z.maxLength(100)),
  found: z.array(z.object({ server: text(200), rule: text(200), action: text(60), times: count })).check(z.maxLength(100)),
});
export type Summary = z.infer<typeof Summary>;

/** To the panel. */
export const ToPanel = z.discriminatedUnion('kind', [
  Summary,
  /** `more`: they follow those that are shown. */
  z.object({
    kind: z.literal('rows'),
    serial: z.number(),
    more: z.boolean(),
    rows: z.array(Row).check(z.maxLength(MAX_ROWS)),
    next: z.optional(z.number()),
  }),
  /** Something was called: ask again. */
  z.object({ kind: z.literal('changed') }),
  z.object({ kind: z.literal('failed'), serial: z.number(), message: text(1_000) }),
]);
export type ToPanel = z.infer<typeof ToPanel>;
