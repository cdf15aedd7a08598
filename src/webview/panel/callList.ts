import type { Row } from '../../vscode/panel/messages.ts';
import { element } from './dom.ts';
import { ROW_MARKS, duration, instant, plural } from './words.ts';

export interface CallListOptions {
  readonly onOpen: (exchange: string) => void;
  readonly onMore: (before: number) => void;
}

/** The calls of the span, newest first. Up and down move, Enter opens. */
export class CallList {
  readonly root: HTMLElement;
  readonly #list = element('ul', { class: 'calls' });
  readonly #more = element('button', { class: 'more', type: 'button' }, 'Load more');
  readonly #empty = element('p', { class: 'nothing' }, 'No calls in this span.');
  readonly #options: CallListOptions;
  #rows: readonly Row[] = [];
  #next: number | undefined;

  constructor(options: CallListOptions) {
    this.#options = options;
    this.root = element('div', { class: 'call-list' }, this.#list, this.#empty, this.#more);
    this.#more.addEventListener('click', () => {
      if (this.#next !== undefined) options.onMore(this.#next);
    });
    this.#list.addEventListener('keydown', (event) => this.#key(event));
    this.#draw();
  }

  /** Shows other calls, or more of the same. Rows that were there stay, and with them focus and scroll. */
  show(rows: readonly Row[], next: number | undefined, append: boolean): void {
    if (append) this.#rows = [...this.#rows, ...rows];
    else {
      // New calls come on top of what was loaded before, unless there is a gap between them.
      const last = rows.at(-1);
      const joint = last === undefined ? -1 : this.#rows.findIndex(({ exchange }) => exchange === last.exchange);
      const kept = joint >= 0 && this.#rows.length > rows.length && next !== undefined;
      this.#rows = kept ? [...rows, ...this.#rows.slice(joint + 1)] : rows;
      if (kept) next = this.#next;
    }
    this.#next = next;
    this.#draw();
  }

  /** Forgets what is shown: something else was chosen. */
  clear(): void {
    this.#rows = [];
    this.#next = undefined;
    this.#more.hidden = true;
  }

  focus(): void {
    this.#list.querySelector('button')?.focus();
  }

  #draw(): void {
    const old = new Map([...this.#list.children].map((item) => [item.getAttribute('data-look') ?? '', item]));
    const now = Date.now();
    const items = this.#rows.map((row) => {
      const look = JSON.stringify(row);
      return old.get(look) ?? this.#item(row, look, now);
    });
    const same = items.length === this.#list.children.length && items.every((item, at) => this.#list.children[at] === item);
    if (!same) {
      const focused = document.activeElement?.closest('li');
      this.#list.replaceChildren(...items);
      if (focused && items.includes(focused)) focused.querySelector('button')?.focus({ preventScroll: true });
    }
    this.#empty.hidden = items.length > 0;
    this.#more.hidden = this.#next === undefined;
  }

  #item(row: Row, look: string, now: number): HTMLElement {
    const { name, server, words, end, at, ms, findings } = row;
    const details = [
      words,
      server,
      ...(ms === undefined ? [] : [duration(ms)]),
      ...(findings > 0 ? [plural(findings, 'finding', 'findings')] : []),
    ].join(' · ');
    const button = element(
      'button',
      {
        type: 'button',
        class: end,
        title: `${name}\n${details}\n${new Date(at).toLocaleString()}`,
        'aria-label': `${name}, ${details}, ${instant(at, now)}. Show record.`,
      },
      element('span', { class: 'mark', 'aria-hidden': 'true' }, ROW_MARKS[end]),
      element('span', { class: 'name' }, name),
      element('span', { class: 'time' }, instant(at, now)),
      element('span', { class: 'details' }, details),
    );
    button.addEventListener('click', () => this.#options.onOpen(row.exchange));
    return element('li', { 'data-look': look }, button);
  }

  #key(event: KeyboardEvent): void {
    const buttons = [...this.#list.querySelectorAll('button')];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    (next >= buttons.length && !this.#more.hidden ? this.#more : buttons[Math.max(0, Math.min(buttons.length - 1, next))])?.focus();
  }
}
