import * as z from 'zod/mini';
import { Range, SPANS, Span, ToPanel, type FromPanel, type Summary } from '../../vscode/panel/messages.ts';
import { CallList } from './callList.ts';
import { element } from './dom.ts';
import { credentialsPicture, findingsPicture, heatPicture, latencyPicture, numbers, type Tables } from './pictures.ts';
import { Timeline } from './timeline.ts';
import { SPAN_WORDS, between, number } from './words.ts';

declare function acquireVsCodeApi(): { postMessage(message: unknown): void; getState(): unknown; setState(state: unknown): void };

// Code made at run time is not let through by the page's policy.
z.config({ jitless: true });

/** What is kept while the panel is hidden, and over a reload. */
const State = z.object({
  span: Span,
  server: z.optional(z.string()),
  by: z.enum(['decision', 'server']),
  selection: z.optional(Range),
  /** Sections that are folded, and tables that are unfolded, by name. */
  folded: z.array(z.string()),
  tables: z.array(z.string()),
});
type State = z.infer<typeof State>;

const vscode = acquireVsCodeApi();
let state: State = State.safeParse(vscode.getState()).data ?? { span: 'day', by: 'decision', folded: [], tables: [] };
let serial = 0;
let summary: Summary | undefined;
let asked = false;
let stale = false;
let focusList = false;

const send = (message: FromPanel) => vscode.postMessage(message);
const root = document.getElementById('panel') as HTMLElement;

const tables: Tables = {
  isOpen: (name) => state.tables.includes(name),
  toggled: (name, open) => keep({ tables: open ? [...new Set([...state.tables, name])] : state.tables.filter((t) => t !== name) }),
};
const timeline = new Timeline({
  onSelect: (selection) => {
    keep({ selection });
    change();
  },
  onOpen: () => {
    focusList = true;
    change();
  },
  onToggleTable: (open) => tables.toggled('timeline', open),
});
const calls = new CallList({
  onOpen: (exchange) => send({ kind: 'open', exchange }),
  onMore: (before) => {
    send({ kind: 'list', serial, range: shownRange(), before, ...server() });
  },
});

const spans = element('div', { class: 'spans', role: 'radiogroup', 'aria-label': 'Span of time' });
const servers = element('select', { 'aria-label': 'Server', title: 'Server' });
const by = element(
  'select',
  { 'aria-label': 'Bars by', title: 'What the bars are made of' },
  element('option', { value: 'decision' }, 'by decision'),
  element('option', { value: 'server' }, 'by server'),
);
const chosen = element('div', { class: 'chosen' });
const figures = element('div');
const note = element('p', { class: 'note', role: 'status' });
const parts = {
  calls: section('calls', 'Calls', calls.root),
  tools: section('tools', 'Tools by hour of the day'),
  latency: section('latency', 'Latency'),
  credentials: section('credentials', 'Credentials'),
  findings: section('findings', 'Findings'),
};
const empty = element(
  'div',
  { class: 'empty', hidden: true },
  element('h2', {}, 'Nothing was called yet'),
  element(
    'p',
    {},
    'When an agent calls a tool through Culvert, this panel shows when, which, how it was decided, how long it took, and what was found.',
  ),
  element('p', {}, 'Add a server, allow a tool, and ask an agent to use it.'),
);
const add = element('button', { type: 'button', class: 'primary' }, 'Add Server…');
add.addEventListener('click', () => send({ kind: 'addServer' }));
empty.append(add);
const content = element('div', { class: 'content', hidden: true });
content.append(
  element('div', { class: 'bar' }, spans, servers, by),
  chosen,
  figures,
  section('timeline', 'Timeline', timeline.root),
  ...Object.values(parts),
);
root.append(note, empty, content);

for (const span of SPANS) {
  const button = element(
    'button',
    { type: 'button', role: 'radio', title: SPAN_WORDS[span].long, 'data-span': span },
    SPAN_WORDS[span].short,
  );
  button.addEventListener('click', () => {
    keep({ span, selection: undefined });
    change();
  });
  spans.append(button);
}
spans.addEventListener('keydown', (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const next = SPANS[(SPANS.indexOf(state.span) + step + SPANS.length) % SPANS.length];
  const button = spans.querySelector<HTMLButtonElement>(`[data-span="${next ?? 'day'}"]`);
  button?.click();
  button?.focus();
});
servers.addEventListener('change', () => {
  keep({ server: servers.value === '' ? undefined : servers.value });
  change();
});
by.addEventListener('change', () => {
  keep({ by: by.value === 'server' ? 'server' : 'decision' });
  draw();
});

window.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
  const { data: message } = ToPanel.safeParse(data);
  if (!message) return;
  switch (message.kind) {
    case 'changed':
      ask();
      return;
    case 'summary':
      if (message.serial !== serial) return;
      summary = message;
      answered();
      draw();
      send({ kind: 'list', serial, range: shownRange(), ...server() });
      return;
    case 'rows':
      if (message.serial !== serial) return;
      calls.show(message.rows, message.next, message.more);
      if (focusList) calls.focus();
      focusList = false;
      return;
    case 'failed':
      if (message.serial !== serial) return;
      answered();
      note.textContent = message.message;
  }
});

// The theme speaks through variables and classes of the page.
new MutationObserver(() => timeline.redraw()).observe(document.body, {
  attributes: true,
  attributeFilter: ['class', 'data-vscode-theme-id'],
});
matchMedia('(forced-colors: active)').addEventListener('change', () => timeline.redraw());
send({ kind: 'ready' });

/** Something else is to be shown. */
function change(): void {
  calls.clear();
  ask(true);
}

/** Asks for sums; one question at a time, unless what is asked for is another. */
function ask(other = false): void {
  if (asked && !other) {
    stale = true;
    return;
  }
  asked = true;
  stale = false;
  serial++;
  root.setAttribute('aria-busy', 'true');
  send({ kind: 'query', serial, span: state.span, ...server(), ...(state.selection ? { selection: state.selection } : {}) });
}

function answered(): void {
  asked = false;
  root.setAttribute('aria-busy', 'false');
  if (stale) setTimeout(() => ask(), 500);
  stale = false;
}

function server(): { server?: string } {
  return state.server === undefined ? {} : { server: state.server };
}

function shownRange(): Range {
  return state.selection ?? summary?.range ?? { from: 0, to: 0 };
}

function keep(part: Partial<State>): void {
  state = { ...state, ...part };
  vscode.setState(state);
}

function draw(): void {
  if (!summary) return;
  note.textContent = summary.behind > 2_000 ? `The record is being read: ${number(summary.behind)} entries to go.` : '';
  empty.hidden = summary.any;
  content.hidden = !summary.any;
  if (!summary.any) return;
  for (const button of spans.querySelectorAll('button')) {
    const on = button.dataset['span'] === state.span;
    button.setAttribute('aria-checked', String(on));
    button.tabIndex = on ? 0 : -1;
  }
  servers.replaceChildren(
    element('option', { value: '' }, 'All servers'),
    ...summary.servers.filter(({ id }) => id !== '').map(({ id, label }) => element('option', { value: id }, label)),
  );
  if (state.server !== undefined && !summary.servers.some(({ id }) => id === state.server))
    servers.append(element('option', { value: state.server }, 'Chosen server'));
  servers.value = state.server ?? '';
  by.value = state.by;
  drawChosen();
  figures.replaceChildren(numbers(summary));
  timeline.show(summary, state.by, state.selection, tables.isOpen('timeline'));
  body(parts.tools, heatPicture(summary, tables));
  body(parts.latency, latencyPicture(summary, tables));
  body(parts.credentials, credentialsPicture(summary, tables));
  body(parts.findings, findingsPicture(summary, tables));
}

function drawChosen(): void {
  const { selection } = state;
  if (!selection) {
    chosen.replaceChildren(element('span', {}, SPAN_WORDS[state.span].long));
    return;
  }
  const clear = element('button', { type: 'button', class: 'link' }, 'Show all');
  clear.addEventListener('click', () => {
    keep({ selection: undefined });
    change();
    timeline.focus();
  });
  chosen.replaceChildren(element('span', {}, between(selection.from, selection.to, Date.now())), clear);
}

function section(name: string, title: string, ...children: Node[]): HTMLDetailsElement {
  const details = element(
    'details',
    { class: 'section', 'data-name': name, open: !state.folded.includes(name) },
    element('summary', {}, element('h2', {}, title)),
    element('div', { class: 'body' }, ...children),
  );
  details.addEventListener('toggle', () =>
    keep({ folded: details.open ? state.folded.filter((n) => n !== name) : [...new Set([...state.folded, name])] }),
  );
  return details;
}

function body(part: HTMLElement, nodes: readonly Node[]): void {
  const place = part.querySelector('.body');
  // A picture that is looked at with the keyboard is not pulled away.
  const focused = place?.contains(document.activeElement) === true;
  if (!focused) place?.replaceChildren(...nodes);
}
