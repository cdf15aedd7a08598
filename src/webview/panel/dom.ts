type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;
type Child = Node | string | undefined;

/** An element. `true` sets an attribute without a value, `undefined` and `false` leave it out. Texts are never read as HTML. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function fill<E extends Element>(made: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : String(value));
  made.append(...children.filter((child) => child !== undefined));
  return made;
}

/** A table that says what a picture shows, folded up. */
export function asTable(
  caption: string,
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  open: boolean,
  onToggle: (open: boolean) => void,
): HTMLElement {
  const table = element(
    'table',
    {},
    element('caption', { class: 'hidden' }, caption),
    element('thead', {}, element('tr', {}, ...head.map((text) => element('th', { scope: 'col' }, text)))),
    element(
      'tbody',
      {},
      ...rows.map(([first = '', ...rest]) =>
        element('tr', {}, element('th', { scope: 'row' }, String(first)), ...rest.map((cell) => element('td', {}, String(cell)))),
      ),
    ),
  );
  const details = element(
    'details',
    { class: 'table', open },
    element('summary', {}, `As a table: ${caption}`),
    element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption }, table),
  );
  details.addEventListener('toggle', () => onToggle(details.open));
  return details;
}
