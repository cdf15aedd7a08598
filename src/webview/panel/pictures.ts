import { END_NAMES, type Summary } from '../../vscode/panel/messages.ts';
import { asTable, element, svg } from './dom.ts';
import { END_WORDS, bound, instant, level, number, percentile, plural } from './words.ts';

/** Which tables are unfolded, and what is to be done when one is. */
export interface Tables {
  isOpen(name: string): boolean;
  toggled(name: string, open: boolean): void;
}

/** Tools against hours of the day: the larger the dot, the more calls. */
export function heatPicture({ tools, moreTools }: Summary, tables: Tables): Node[] {
  if (tools.length === 0) return [nothing('No tool was called in this span.')];
  const most = Math.max(...tools.flatMap(({ hours }) => hours));
  const grid = element(
    'div',
    { class: 'heat', 'aria-hidden': 'true' },
    element('span'),
    ...[0, 6, 12, 18].map((hour) => element('span', { class: 'hour' }, String(hour))),
  );
  for (const { tool, server, hours } of tools) {
    grid.append(
      element('span', { class: 'name', title: `${tool} of ${server}` }, tool),
      ...hours.map((calls, hour) =>
        element('span', {
          class: `cell level${level(calls, most)}${hour % 6 === 0 ? ' line' : ''}`,
          title: `${tool}, ${hour}:00 to ${hour + 1}:00: ${plural(calls, 'call', 'calls')}`,
        }),
      ),
    );
  }
  const busiest = tools[0];
  const peak = busiest ? busiest.hours.indexOf(Math.max(...busiest.hours)) : 0;
  return [
    element(
      'p',
      { class: 'words' },
      `Most: ${busiest?.tool ?? ''}, ${plural(busiest?.calls ?? 0, 'call', 'calls')}, mostly from ${peak}:00.${moreTools > 0 ? ` ${plural(moreTools, 'tool', 'tools')} more.` : ''}`,
    ),
    grid,
    table(
      tables,
      'tools',
      'calls by tool and hour of the day',
      ['Tool', 'Server', 'Calls', ...Array.from({ length: 24 }, (_, hour) => String(hour))],
      tools.map(({ tool, server, calls, hours }) => [tool, server, number(calls), ...hours.map((n) => (n === 0 ? '' : number(n)))]),
    ),
  ];
}

const CHART = { width: 288, height: 96, base: 78 } as const;

/** How long calls took: columns by powers of two. */
export function latencyPicture({ latency }: Summary, tables: Tables): Node[] {
  if (latency.length === 0) return [nothing('No call reached a server in this span.')];
  const most = Math.max(...latency.map(({ calls }) => calls));
  const step = CHART.width / Math.max(6, latency.length);
  const every = Math.ceil(latency.length / 6);
  const picture = svg(
    'svg',
    { class: 'latency', viewBox: `0 0 ${CHART.width} ${CHART.height}`, 'aria-hidden': 'true' },
    svg('line', { class: 'axis', x1: 0, x2: CHART.width, y1: CHART.base + 0.5, y2: CHART.base + 0.5 }),
    ...latency.flatMap(({ below, calls }, at) => {
      const height = calls === 0 ? 0 : Math.max(2, (calls / most) * (CHART.base - 14));
      const x = at * step;
      return [
        svg(
          'rect',
          { class: 'bar', x: x + step * 0.08, width: step * 0.84, y: CHART.base - height, height },
          svg('title', {}, `Below ${bound(below)}: ${plural(calls, 'call', 'calls')}`),
        ),
        at % every === 0 ? svg('text', { class: 'label', x: x + step / 2, y: CHART.height - 4 }, bound(below)) : undefined,
      ].filter((node) => node !== undefined);
    }),
  );
  const shares = [0.5, 0.95, 0.99].map((share) => [share, percentile(latency, share)] as const);
  return [
    element(
      'p',
      { class: 'words' },
      shares.map(([share, below]) => together(`${Math.round(share * 100)} % below ${bound(below ?? 0)}`)).join(' · '),
    ),
    picture,
    table(
      tables,
      'latency',
      'calls by running time',
      ['Below', 'Calls'],
      latency.map(({ below, calls }) => [bound(below), number(calls)]),
    ),
  ];
}

/** Credentials by how often they went along. */
export function credentialsPicture({ credentials, exact }: Summary, tables: Tables): Node[] {
  if (credentials.length === 0) return [nothing('No credential was used in this span.')];
  const most = Math.max(...credentials.map(({ calls }) => calls));
  const now = Date.now();
  return [
    element('ul', { class: 'bars' }, ...credentials.slice(0, 12).map(({ name, calls }) => barRow(name, calls, most))),
    ...(exact ? [] : [element('p', { class: 'note' }, 'Counted by whole hours.')]),
    table(
      tables,
      'credentials',
      'calls by credential',
      ['Credential', 'Calls', 'Last used, from'],
      credentials.map(({ name, calls, last }) => [name, number(calls), instant(last, now)]),
    ),
  ];
}

/** What was found, and what was done about it. */
export function findingsPicture({ found }: Summary, tables: Tables): Node[] {
  if (found.length === 0) return [nothing('Nothing was found in this span.')];
  const most = Math.max(...found.map(({ times }) => times));
  return [
    element(
      'ul',
      { class: 'bars found' },
      ...found
        .slice(0, 12)
        .map(({ rule, action, server, times }) =>
          barRow(`${ruleWords(rule)}${action === '' ? '' : `, ${action}`} · ${server}`, times, most),
        ),
    ),
    table(
      tables,
      'findings',
      'findings by rule and server',
      ['Rule', 'Done', 'Server', 'Times'],
      found.map(({ rule, action, server, times }) => [ruleWords(rule), action, server, number(times)]),
    ),
  ];
}

/** Calls, denials and findings as large numbers. */
export function numbers({ ends }: Summary): HTMLElement {
  const calls = ends.reduce((sum, e) => sum + e.calls, 0);
  const found = ends.reduce((sum, e) => sum + e.findings, 0);
  const one = (value: number, label: string, help: string, kind = '') =>
    element('div', { class: `number ${kind}`, title: help }, element('strong', {}, number(value)), element('span', {}, label));
  return element(
    'div',
    { class: 'numbers' },
    one(calls, calls === 1 ? 'call' : 'calls', 'Calls that ended in this span'),
    ...END_NAMES.slice(1).flatMap((end) => {
      const of = ends.find((e) => e.end === end)?.calls ?? 0;
      return of > 0 || end === 'denied' ? [one(of, END_WORDS[end].label.toLowerCase(), END_WORDS[end].help, end)] : [];
    }),
    one(found, found === 1 ? 'finding' : 'findings', 'Secrets, hidden text and the like'),
  );
}

function barRow(name: string, value: number, most: number): HTMLElement {
  return element(
    'li',
    { title: `${name}: ${number(value)}` },
    element('span', { class: 'name' }, name),
    element('span', { class: 'value' }, number(value)),
    svg(
      'svg',
      { class: 'bar', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      svg('rect', { class: 'track', width: 100, height: 4 }),
      svg('rect', { class: 'bar', width: Math.max(1, (value / most) * 100), height: 4 }),
    ),
  );
}

function table(
  tables: Tables,
  name: string,
  caption: string,
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): HTMLElement {
  return asTable(caption, head, rows, tables.isOpen(name), (open) => tables.toggled(name, open));
}

function nothing(words: string): HTMLElement {
  return element('p', { class: 'nothing' }, words);
}

function ruleWords(rule: string): string {
  return rule === '' ? 'recorded without a rule' : rule.replaceAll('-', ' ');
}

/** Words that stay on one line. */
function together(words: string): string {
  return words.replaceAll(' ', '\u00a0');
}
