import assert from 'node:assert/strict';
import type { Locator, Page } from 'playwright-core';
import { escapePattern, pattern } from './pattern.ts';
import { until } from './until.ts';

const TIMEOUT_MS = 15_000;
/** Time between two clicks on a menu, in milliseconds. */
const MENU_RETRY_MS = 100;
/** How long children may take to appear before a row counts as one without any, in milliseconds. */
const CHILDREN_TIMEOUT_MS = 2_000;

/** A tree view. Only rows that are scrolled into sight exist. A label given as a string must be the whole label. */
export class Tree {
  private readonly page: Page;
  private readonly root: Locator;

  constructor(page: Page, root: Locator) {
    this.page = page;
    this.root = root;
  }

  /** All rows in sight. */
  rows(): Locator {
    return this.root.locator('.monaco-list-row[role="treeitem"]');
  }

  /** The first row with this label. */
  row(label: string | RegExp): Locator {
    const hasText = label instanceof RegExp ? label : new RegExp(`^${escapePattern(label)}$`);
    return this.rows()
      .filter({ has: this.page.locator('.label-name', { hasText }) })
      .first();
  }

  /** Labels of the rows in sight. */
  async labels(): Promise<string[]> {
    return this.rows().locator('.label-name').allInnerTexts();
  }

  /** Waits until the rows in sight have exactly these labels. */
  async waitLabels(expected: readonly string[]): Promise<void> {
    let labels: string[] = [];
    const same = async () => {
      labels = await this.labels();
      return JSON.stringify(labels) === JSON.stringify(expected);
    };
    await until(same, { timeoutMs: TIMEOUT_MS }).catch(() => assert.deepEqual(labels, expected));
  }

  /** Opens a row and waits for its children. */
  async expand(label: string | RegExp): Promise<void> {
    const row = this.row(label);
    await row.waitFor();
    if ((await row.getAttribute('aria-expanded')) !== 'true') await row.locator('.monaco-tl-twistie').click();
    // aria-expanded changes before the children have arrived: wait for a deeper row right below.
    const index = Number(await row.getAttribute('data-index'));
    const level = Number(await row.getAttribute('aria-level'));
    const child = this.root.locator(`.monaco-list-row[role="treeitem"][data-index="${index + 1}"][aria-level="${level + 1}"]`);
    await child
      .first()
      .waitFor({ timeout: CHILDREN_TIMEOUT_MS })
      .catch(() => undefined);
  }

  /** Clicks a row. */
  async select(label: string | RegExp): Promise<void> {
    await this.row(label).locator('.label-name').click();
  }

  /** The dimmed text after a label. */
  async description(label: string | RegExp): Promise<string> {
    return (await this.row(label).locator('.label-description').allInnerTexts()).join('');
  }

  /** Waits for the dimmed text after a label. */
  async waitDescription(label: string | RegExp, text: string | RegExp, timeoutMs?: number): Promise<void> {
    await this.row(label)
      .locator('.label-description', { hasText: text })
      .waitFor(timeoutMs === undefined ? {} : { timeout: timeoutMs });
  }

  /** The text of a row's tooltip. */
  async tooltip(label: string | RegExp): Promise<string> {
    await this.row(label).hover();
    const hover = this.page.locator('.monaco-hover:visible').last();
    await hover.waitFor();
    return hover.innerText();
  }

  /** The checkbox of a row. */
  checkbox(label: string | RegExp): Locator {
    return this.row(label).locator('.custom-view-tree-node-item-checkbox');
  }

  /** Whether the checkbox of a row is ticked. */
  async isChecked(label: string | RegExp): Promise<boolean> {
    return (await this.checkbox(label).getAttribute('aria-checked')) === 'true';
  }

  /** Clicks the checkbox of a row, waits until it has changed, and returns its new state. */
  async toggle(label: string | RegExp): Promise<boolean> {
    const before = await this.isChecked(label);
    await this.checkbox(label).click();
    await until(async () => (await this.isChecked(label)) !== before, {
      timeoutMs: TIMEOUT_MS,
      what: `the checkbox of ${String(label)} to change`,
    });
    return !before;
  }

  /** Presses an inline button of a row by its title. */
  async inlineAction(label: string | RegExp, action: string): Promise<void> {
    const row = this.row(label);
    await row.hover();
    await row.locator(`.actions .action-label[aria-label^="${action}"]`).click();
  }

  /** Chooses an entry of a row's context menu. */
  async contextMenu(label: string | RegExp, item: string | RegExp): Promise<void> {
    await this.row(label).click({ button: 'right' });
    const menu = this.page.locator('.monaco-menu');
    const entry = menu.locator('.action-item', { hasText: pattern(item) }).first();
    await entry.waitFor();
    // A menu takes no click in its first moments.
    const chosen = async () => {
      await entry.click({ timeout: MENU_RETRY_MS }).catch(() => undefined);
      return (await menu.count()) === 0;
    };
    await until(chosen, { timeoutMs: TIMEOUT_MS, intervalMs: MENU_RETRY_MS, what: `the menu entry ${String(item)}` });
  }
}
