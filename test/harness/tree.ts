import assert from 'node:assert/strict';
import type { Locator, Page } from 'playwright-core';
import { escapePattern, pattern } from './pattern.ts';
import { until } from './until.ts';

const TIMEOUT_MS = 45_000;
/** How long a menu may take to close before it is clicked again, in milliseconds. */
const MENU_RETRY_MS = 250;
/** How long one try of something that VS Code sometimes takes no notice of may take, in milliseconds. */
const TRY_MS = 5_000;

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

  /** Opens a row and waits for its children. VS Code takes no notice of a click on a row that is just being drawn. */
  async expand(label: string | RegExp): Promise<void> {
    const row = this.row(label);
    await until(
      async () => {
        await row.waitFor({ timeout: TRY_MS });
        const open = await row.getAttribute('aria-expanded', { timeout: TRY_MS });
        if (open === 'false') await row.locator('.monaco-tl-twistie').click({ timeout: TRY_MS });
        // aria-expanded changes before the children have arrived: wait for a deeper row right below.
        const index = Number(await row.getAttribute('data-index', { timeout: TRY_MS }));
        const level = Number(await row.getAttribute('aria-level', { timeout: TRY_MS }));
        const child = this.root.locator(`.monaco-list-row[role="treeitem"][data-index="${index + 1}"][aria-level="${level + 1}"]`);
        return (await child.count()) > 0;
      },
      { timeoutMs: TIMEOUT_MS, what: `the rows below ${String(label)}`, intervalMs: 300 },
    );
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

  /** The text of a row's tooltip. It does not come if the row is drawn again below the pointer: the pointer comes once more then. */
  async tooltip(label: string | RegExp): Promise<string> {
    const hover = this.page.locator('.monaco-hover:visible').last();
    const shown = async () => {
      await this.page.mouse.move(0, 0);
      await this.row(label).hover({ timeout: TRY_MS });
      await hover.waitFor({ timeout: TRY_MS });
      return hover.innerText({ timeout: TRY_MS });
    };
    return until(shown, { timeoutMs: TIMEOUT_MS, what: `the tooltip of ${String(label)}` });
  }

  /** The checkbox of a row. */
  checkbox(label: string | RegExp): Locator {
    return this.row(label).locator('.custom-view-tree-node-item-checkbox');
  }

  /** Whether the checkbox of a row is ticked. */
  async isChecked(label: string | RegExp): Promise<boolean> {
    return (await this.checkbox(label).getAttribute('aria-checked')) === 'true';
  }

  /** Clicks the checkbox of a row, waits until it has changed, and returns its new state. A row that is just being drawn takes no click. */
  async toggle(label: string | RegExp): Promise<boolean> {
    const before = await this.isChecked(label);
    const changed = async () => {
      if ((await this.isChecked(label)) !== before) return true;
      await this.checkbox(label).click({ timeout: TRY_MS });
      return (await this.isChecked(label)) !== before;
    };
    await until(changed, { timeoutMs: TIMEOUT_MS, what: `the checkbox of ${String(label)} to change`, intervalMs: 500 });
    return !before;
  }

  /** Presses an inline button of a row by its title. It is there only while the pointer is. */
  async inlineAction(label: string | RegExp, action: string): Promise<void> {
    const row = this.row(label);
    const pressed = async () => {
      await row.hover({ timeout: TRY_MS });
      await row.locator(`.actions .action-label[aria-label^="${action}"]`).click({ timeout: TRY_MS });
      return true;
    };
    await until(pressed, { timeoutMs: TIMEOUT_MS, what: `the button ${action} of ${String(label)}` });
  }

  /**
   * Chooses an entry of a row's context menu. A menu takes no click in its first moments, and one that closes because the tree was drawn
   * anew has chosen nothing.
   */
  async contextMenu(label: string | RegExp, item: string | RegExp): Promise<void> {
    const menu = this.page.locator('.monaco-menu');
    const entry = menu.locator('.action-item', { hasText: pattern(item) }).first();
    let clicked = false;
    const chosen = async () => {
      if ((await menu.count()) === 0) {
        if (clicked) return true;
        await this.row(label).click({ button: 'right', timeout: TRY_MS });
      }
      await entry.waitFor({ timeout: TRY_MS });
      await entry.click({ timeout: TRY_MS });
      clicked = true;
      return menu.waitFor({ state: 'hidden', timeout: MENU_RETRY_MS }).then(
        () => true,
        () => false,
      );
    };
    await until(chosen, { timeoutMs: TIMEOUT_MS, intervalMs: MENU_RETRY_MS, what: `${String(item)} in the menu of ${String(label)}` });
  }

  /**
   * Begins to watch which rows VS Code draws again. The result ends that and returns their labels, sorted. Selection, focus and what the
   * pointer brings are attributes of rows: they do not count.
   */
  async watchRows(): Promise<() => Promise<string[]>> {
    const watch = await this.root.evaluateHandle((root) => {
      const { MutationObserver } = globalThis as unknown as BrowserPage;
      const labels = new Set<string>();
      const note = (changes: readonly Mutation[]) => {
        for (const { target } of changes) {
          const label = (target.closest ? target : target.parentElement)
            ?.closest?.('.monaco-list-row')
            ?.querySelector('.label-name')?.textContent;
          if (typeof label === 'string') labels.add(label);
        }
      };
      const observer = new MutationObserver(note);
      observer.observe(root, { subtree: true, childList: true, characterData: true });
      return {
        end() {
          note(observer.takeRecords());
          observer.disconnect();
          return [...labels].sort();
        },
      };
    });
    return () => watch.evaluate((watching) => watching.end());
  }
}

/** What {@link Tree.watchRows} uses of the browser: its types are not those of this program. */
interface BrowserPage {
  readonly MutationObserver: new (note: (changes: readonly Mutation[]) => void) => {
    observe(root: unknown, what: object): void;
    takeRecords(): readonly Mutation[];
    disconnect(): void;
  };
}

interface Mutation {
  readonly target: PageNode;
}

interface PageNode {
  readonly parentElement: PageNode | null;
  readonly textContent: string | null;
  /** Texts have none. */
  closest?(selector: string): PageNode | null;
  querySelector(selector: string): PageNode | null;
}
