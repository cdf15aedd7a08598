import uPlot from 'uplot';
import { END_NAMES, type Range, type Summary } from '../../vscode/panel/messages.ts';
import { readPalette } from './colors.ts';
import { asTable, element } from './dom.ts';
import { END_WORDS, between, number, plural } from './words.ts';

/** What the bars are stacked by. */
export type StackedBy = 'decision' | 'server';

export interface TimelineOptions {
  readonly onSelect: (range: Range | undefined) => void;
  /** Enter on a bin: its calls are wanted. */
  readonly onOpen: (range: Range) => void;
  readonly onToggleTable: (open: boolean) => void;
}

const HEIGHT = 150;
/** Narrowest drag that counts as one, pixels. */
const MIN_DRAG = 4;

/** Calls over time as stacked bars; a span can be brushed with the pointer or chosen with the keyboard. */
export class Timeline {
  readonly root: HTMLElement;
  readonly #frame: HTMLElement;
  readonly #legend = element('ul', { class: 'legend', 'aria-hidden': 'true' });
  readonly #said = element('p', { class: 'hidden', 'aria-live': 'polite' });
  readonly #bin = element('p', { class: 'bin' });
  readonly #table = element('div');
  readonly #options: TimelineOptions;
  #plot: uPlot | undefined;
  #summary: Summary | undefined;
  #by: StackedBy = 'decision';
  #selection: Range | undefined;
  #tableOpen = false;
  /** While a span is being brushed: what came meanwhile, drawn afterwards. A plot that is replaced would let go of the pointer. */
  #held = false;
  #waiting: (() => void) | undefined;
  /** Bin under the keyboard's cursor, and where the choice with Shift began. */
  #at = -1;
  #anchor = -1;

  constructor(options: TimelineOptions) {
    this.#options = options;
    this.#frame = element('div', {
      class: 'plot',
      tabindex: 0,
      role: 'group',
      'aria-label': 'Calls over time. Left and right move, Shift chooses a span, Enter shows the calls, Escape ends the choice.',
    });
    this.root = element('div', { class: 'timeline' }, this.#legend, this.#frame, this.#bin, this.#said, this.#table);
    this.#frame.addEventListener('keydown', (event) => this.#key(event));
    this.#frame.addEventListener('blur', () => this.#moveTo(-1));
    this.#frame.addEventListener('mousedown', () => (this.#held = true));
    // The plot hears of it first: it listens at the document.
    window.addEventListener('mouseup', () => {
      this.#held = false;
      this.#waiting?.();
    });
    new ResizeObserver(() => this.#resize()).observe(this.#frame);
  }

  /** Draws what is known now. */
  show(summary: Summary, by: StackedBy, selection: Range | undefined, tableOpen: boolean): void {
    this.#waiting = undefined;
    if (this.#held) {
      this.#waiting = () => this.show(summary, by, this.#selection, tableOpen);
      return;
    }
    this.#summary = summary;
    this.#by = by;
    this.#selection = selection;
    this.#tableOpen = tableOpen;
    this.redraw();
  }

  /** Draws the same again, in the colours of the theme as it is now. */
  redraw(): void {
    const summary = this.#summary;
    if (!summary) return;
    const palette = readPalette();
    const { names, stacks, sums } = stack(summary, this.#by);
    const fills = this.#by === 'decision' ? END_NAMES.map((end) => palette.ends[end]) : palette.servers;
    this.#plot?.destroy();
    const { bins } = summary;
    const [first = 0, last = 1] = [bins[0], bins.at(-1)];
    // Highest first: each bar is drawn over the one before.
    const order = names.map((_, at) => at).reverse();
    const bars = uPlot.paths.bars?.({ size: [0.86, 40], align: 1 });
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    this.#plot = new uPlot(
      {
        ms: 1,
        width: Math.max(120, this.#frame.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        padding: [8, 8, 0, 0],
        scales: { x: { time: true, range: [first, last] }, y: { range: (_plot, _low, high) => [0, Math.max(4, high * 1.05)] } },
        axes: [
          {
            stroke: palette.text,
            font,
            size: 24,
            space: 64,
            grid: { show: false },
            ticks: { stroke: palette.grid, size: 4 },
            values: (_plot, times, _axis, _space, step) => times.map((at) => tick(at, step)),
          },
          {
            stroke: palette.text,
            font,
            size: 36,
            space: 32,
            incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6],
            grid: { stroke: palette.grid, width: 1 },
            ticks: { show: false },
            values: (_plot, values) => values.map(short),
          },
        ],
        cursor: { x: true, y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
        series: [
          {},
          ...order.map((at) => ({
            fill: () => fills[at] ?? palette.text,
            width: 0,
            points: { show: false },
            ...(bars ? { paths: bars } : {}),
          })),
        ],
        hooks: { setSelect: [(plot) => this.#dragged(plot)], setCursor: [(plot) => this.#pointed(plot)] },
      },
      [bins.slice(0, -1), ...order.map((at) => stacks[at] ?? [])] as uPlot.AlignedData,
      this.#frame,
    );
    this.#drawSelection();
    this.#legend.replaceChildren(
      ...names.flatMap((name, at) =>
        sums.some((values) => (values[at] ?? 0) > 0)
          ? [
              element(
                'li',
                { title: this.#by === 'decision' ? END_WORDS[END_NAMES[at] ?? 'ok'].help : name },
                swatch(fills[at] ?? palette.text),
                name,
              ),
            ]
          : [],
      ),
    );
    const now = Date.now();
    const rows = sums.flatMap((values, bin) =>
      values.some((value) => value > 0) ? [[between(bins[bin] ?? 0, bins[bin + 1] ?? 0, now), ...values.map(number)]] : [],
    );
    this.#table.replaceChildren(
      asTable('calls over time', ['Time', ...names], rows.reverse(), this.#tableOpen, (open) => {
        this.#tableOpen = open;
        this.#options.onToggleTable(open);
      }),
    );
    this.#moveTo(Math.min(this.#at, bins.length - 2), false);
  }

  focus(): void {
    this.#frame.focus();
  }

  #resize(): void {
    const width = this.#frame.clientWidth;
    if (!this.#plot || width === 0 || Math.abs(width - this.#plot.width) < 1) return;
    this.#plot.setSize({ width, height: HEIGHT });
    this.#drawSelection();
  }

  #dragged(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width === 0) return;
    const bins = this.#summary?.bins ?? [];
    if (width < MIN_DRAG || bins.length < 2) {
      this.#drawSelection();
      return;
    }
    const [low, high] = [this.#binAt(plot.posToVal(left, 'x')), this.#binAt(plot.posToVal(left + width - 1, 'x'))];
    this.#choose(low, high);
  }

  #pointed(plot: uPlot): void {
    const left = plot.cursor.left ?? -1;
    if (left >= 0) this.#describe(this.#binAt(plot.posToVal(left, 'x')));
    else if (this.#at < 0) this.#bin.textContent = '';
  }

  #binAt(at: number): number {
    const bins = this.#summary?.bins ?? [];
    return Math.max(
      0,
      Math.min(
        bins.length - 2,
        bins.findLastIndex((begin) => begin <= at),
      ),
    );
  }

  #choose(low: number, high: number): void {
    const { bins = [] } = this.#summary ?? {};
    const [from, to] = [bins[Math.min(low, high)], bins[Math.max(low, high) + 1]];
    if (from === undefined || to === undefined) return;
    this.#selection = { from, to };
    this.#drawSelection();
    this.#options.onSelect(this.#selection);
  }

  #drawSelection(): void {
    const plot = this.#plot;
    if (!plot) return;
    const range = this.#selection;
    if (!range) {
      plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      return;
    }
    const width = plot.bbox.width / devicePixelRatio;
    const clamp = (at: number) => Math.max(0, Math.min(width, plot.valToPos(at, 'x')));
    const [left, right] = [clamp(range.from), clamp(range.to)];
    plot.setSelect({ left, top: 0, width: Math.max(1, right - left), height: plot.bbox.height / devicePixelRatio }, false);
  }

  #key(event: KeyboardEvent): void {
    const last = (this.#summary?.bins.length ?? 1) - 2;
    if (last < 0) return;
    const from = this.#at < 0 ? last + 1 : this.#at;
    const next = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last, PageUp: from - 10, PageDown: from + 10 }[event.key];
    if (next !== undefined) {
      const to = Math.max(0, Math.min(last, next));
      if (event.shiftKey) {
        if (this.#anchor < 0) this.#anchor = Math.min(last, from);
        this.#choose(this.#anchor, to);
      } else this.#anchor = -1;
      this.#moveTo(to);
    } else if (event.key === 'Enter' && this.#at >= 0) {
      if (!this.#selection || this.#anchor < 0) this.#choose(this.#at, this.#at);
      if (this.#selection) this.#options.onOpen(this.#selection);
    } else if (event.key === 'Escape' && this.#selection) {
      this.#anchor = -1;
      this.#selection = undefined;
      this.#drawSelection();
      this.#options.onSelect(undefined);
    } else return;
    event.preventDefault();
  }

  /** Puts the cursor on a bin; -1 takes it away. */
  #moveTo(bin: number, say = true): void {
    this.#at = bin;
    const { bins = [] } = this.#summary ?? {};
    const [begin, end] = [bins[bin], bins[bin + 1]];
    if (begin === undefined || end === undefined) {
      this.#at = -1;
      this.#plot?.setCursor({ left: -10, top: -10 }, false);
      this.#bin.textContent = '';
      return;
    }
    this.#plot?.setCursor({ left: this.#plot.valToPos((begin + end) / 2, 'x'), top: 10 }, false);
    const words = this.#describe(bin);
    if (say) this.#said.textContent = words;
  }

  #describe(bin: number): string {
    const summary = this.#summary;
    if (!summary) return '';
    const ends = END_NAMES.map((end) => ({ end, calls: total(summary, (cell) => cell.bin === bin && cell.end === end) })).filter(
      ({ calls }) => calls > 0,
    );
    const calls = ends.reduce((sum, e) => sum + e.calls, 0);
    const what =
      ends.length === 1 && ends[0]?.end === 'ok'
        ? ''
        : ends.map((e) => `${number(e.calls)} ${END_WORDS[e.end].label.toLowerCase()}`).join(', ');
    const words = `${between(summary.bins[bin] ?? 0, summary.bins[bin + 1] ?? 0, Date.now())}: ${plural(calls, 'call', 'calls')}${what === '' ? '' : ` (${what})`}`;
    this.#bin.textContent = words;
    return words;
  }
}

function total({ cells }: Summary, meant: (cell: Summary['cells'][number]) => boolean): number {
  return cells.reduce((sum, cell) => sum + (meant(cell) ? cell.calls : 0), 0);
}

/** Series of a stack: sums by bin, each on top of those before it, and the sums themselves. */
function stack(summary: Summary, by: StackedBy): { names: string[]; stacks: number[][]; sums: number[][] } {
  const names = by === 'decision' ? END_NAMES.map((end) => END_WORDS[end].label) : summary.servers.map(({ label }) => label);
  const sums = summary.bins.slice(0, -1).map(() => names.map(() => 0));
  for (const cell of summary.cells) {
    const series = by === 'decision' ? END_NAMES.indexOf(cell.end) : cell.server;
    const bin = sums[cell.bin];
    if (bin && series < names.length) bin[series] = (bin[series] ?? 0) + cell.calls;
  }
  const stacks = names.map((_, at) => sums.map((values) => values.slice(0, at + 1).reduce((a, b) => a + b, 0)));
  return { names, stacks, sums };
}

/** A sample of a fill for the legend. */
function swatch(fill: string | CanvasPattern): HTMLCanvasElement {
  const canvas = element('canvas', { class: 'swatch', width: 24, height: 24 });
  const pen = canvas.getContext('2d');
  if (pen) {
    pen.fillStyle = fill;
    pen.fillRect(0, 0, 24, 24);
  }
  return canvas;
}

function tick(at: number, step: number): string {
  const date = new Date(at);
  return step >= 86_400_000 || (date.getHours() === 0 && date.getMinutes() === 0)
    ? date.toLocaleDateString(undefined, { month: 'short', day: 'numeric' })
    : date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });
}

function short(value: number): string {
  return value >= 1e6 ? `${value / 1e6}M` : value >= 1e4 ? `${value / 1e3}k` : String(value);
}
