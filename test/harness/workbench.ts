/**
 * One VS Code window, driven through its user interface (playwright-core) and, where a test has no business with the interface, through
 * code in its extension host. The selectors are the ones VS Code's own smoke tests use, and ARIA roles and names.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { BrowserContext, FrameLocator, Locator, Page } from 'playwright-core';
import type * as vscode from 'vscode';
import { Chat } from './chat.ts';
import type { Announcement } from './companion/extension.ts';
import { escapePattern, pattern } from './pattern.ts';
import { windowUrl, type VSCodeServer, type WindowOptions } from './server.ts';
import { noteSecret } from '../support/noted.ts';
import { Tree } from './tree.ts';
import { until } from './until.ts';

/** How long the interface may take to show something, in milliseconds. Much more than it takes: only what fails waits for so long. */
const UI_TIMEOUT_MS = 45_000;
/** How long a window may take to open, in milliseconds. */
const OPEN_TIMEOUT_MS = 180_000;
/** How long the palette may take to show a command before it is opened again, in milliseconds. */
const PALETTE_RETRY_MS = 4_000;
/** How long one try of something that VS Code sometimes takes no notice of may take, in milliseconds. */
const TRY_MS = 5_000;
/** How long a notification may take before it is looked for in the list, in milliseconds. */
const TOAST_MS = 2_000;
const QUICK_ROWS = '.quick-input-list .monaco-list-row';

/** The vscode API, as handed to {@link Workbench.eval}. */
export type VSCodeApi = typeof vscode;

/** A VS Code window. */
export class Workbench {
  /** What the window wrote to the browser's console, and its uncaught errors. */
  readonly log: string[] = [];
  readonly page: Page;
  readonly server: VSCodeServer;
  /** The companions that were there before this window's extension host. */
  private known = new Set<number>();
  private companion: Announcement | undefined;

  private constructor(page: Page, server: VSCodeServer) {
    this.page = page;
    this.server = server;
    page.setDefaultTimeout(UI_TIMEOUT_MS);
    page.on('console', (message) => this.log.push(`[${message.type()}] ${message.text()}`));
    page.on('pageerror', (error) => this.log.push(`[pageerror] ${error.stack ?? error.message}`));
    // A beforeunload question of the browser must never block.
    page.on('dialog', (dialog) => void dialog.accept().catch(() => undefined));
  }

  /** Opens a window and waits until it is usable: layout restored, extension host up, companion reachable. */
  static async open(profile: BrowserContext, server: VSCodeServer, options: WindowOptions = {}): Promise<Workbench> {
    const window = new Workbench(await profile.newPage(), server);
    await window.load(() => window.page.goto(windowUrl(server, options), { waitUntil: 'domcontentloaded' }));
    return window;
  }

  /** Reloads the window, which gives it a new extension host. */
  async reload(): Promise<void> {
    await this.load(() => this.page.reload({ waitUntil: 'domcontentloaded' }));
  }

  /** Closes the window; its extension host ends shortly after. */
  async close(): Promise<void> {
    await this.page.close({ runBeforeUnload: false });
  }

  private async load(navigate: () => Promise<unknown>): Promise<void> {
    this.known = new Set(announcements(this.server).map(({ pid }) => pid));
    this.companion = undefined;
    await navigate();
    await this.page.waitForSelector('.monaco-workbench', { timeout: OPEN_TIMEOUT_MS });
    // VS Code's own mark for "layout restored, editors opened".
    await this.page.waitForFunction(`performance.getEntriesByName('code/didStartWorkbench').length > 0`, undefined, {
      timeout: OPEN_TIMEOUT_MS,
    });
    await this.page.waitForSelector('.part.statusbar .statusbar-item', { timeout: OPEN_TIMEOUT_MS });
    if (!this.server.companions) return;
    this.companion = await until(() => announcements(this.server).find(({ pid }) => !this.known.has(pid)), {
      timeoutMs: OPEN_TIMEOUT_MS,
      what: 'the extension host of the window',
    });
  }

  /** Saves a picture of the window. */
  async screenshot(file: string): Promise<string> {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    await this.page.screenshot({ path: file });
    return file;
  }

  /** Playwright makes every page believe it has the focus. Ends that, for tests of `vscode.window.state.focused` with two windows. */
  async realFocus(): Promise<void> {
    const session = await this.page.context().newCDPSession(this.page);
    await session.send('Emulation.setFocusEmulationEnabled', { enabled: false });
  }

  // ---- code in the extension host ---------------------------------------------------------------------------

  /**
   * Runs `fn(vscode, arg)` in this window's extension host. `fn` travels as text: it can use its parameters and globals (also `require`), but
   * nothing of the test around it. `arg` and the result travel as JSON.
   */
  async eval<Result, Argument = undefined>(
    fn: ((api: VSCodeApi, arg: Argument) => Result | PromiseLike<Result>) | string,
    arg?: Argument,
  ): Promise<Awaited<Result>> {
    const companion = this.companion;
    if (!companion) throw new Error('This window was opened without the companion extension.');
    const response = await fetch(`http://127.0.0.1:${companion.port}/`, {
      method: 'POST',
      headers: { 'x-token': companion.token },
      body: JSON.stringify({ fn: String(fn), arg }),
    });
    const answer = (await response.json()) as { ok: true; value: Awaited<Result> } | { ok: false; error: string };
    if (!answer.ok) throw new Error(`in the extension host: ${answer.error}`);
    return answer.value;
  }

  /** Runs a command by its id, without the interface. */
  async exec(id: string, ...args: unknown[]): Promise<unknown> {
    return this.eval((api, command) => api.commands.executeCommand(command.id, ...command.args), { id, args });
  }

  /**
   * Starts every known MCP server without a dialog until a tool whose name matches `tool` is offered to agents; returns its name.
   * Tools that VS Code remembers from before a reload are offered before a server starts: where that matters, `without` names one
   * that must be gone.
   */
  async startMcp(tool: RegExp, without?: RegExp): Promise<string> {
    return this.eval(
      async (api, sources) => {
        const pattern = new RegExp(sources.tool);
        const gone = sources.without === undefined ? undefined : new RegExp(sources.without);
        const find = () =>
          gone && api.lm.tools.some(({ name }) => gone.test(name)) ? undefined : api.lm.tools.find(({ name }) => pattern.test(name))?.name;
        for (let round = 0; round < 40; round++) {
          // '*' starts only the servers known at that moment, and lm.tools follows a little later: hence the loops.
          await api.commands.executeCommand('workbench.mcp.startServer', '*', { waitForLiveTools: true, autoTrustChanges: true });
          for (let look = 0; look < 20; look++) {
            const found = find();
            if (found) return found;
            await new Promise((resolve) => setTimeout(resolve, 25));
          }
        }
        throw new Error(
          `no tool ${sources.tool} without ${String(sources.without)} among ${api.lm.tools.map(({ name }) => name).join(' ')}`,
        );
      },
      { tool: tool.source, without: without?.source },
    );
  }

  /** Calls a tool the way an extension does (`vscode.lm.invokeTool`); returns the text of the result. */
  async invokeTool(name: string, input: object): Promise<string> {
    return this.eval(
      async (api, call) => {
        const result = await api.lm.invokeTool(call.name, { input: call.input, toolInvocationToken: undefined });
        return result.content.map((part) => (part as { value?: unknown }).value).join('');
      },
      { name, input },
    );
  }

  // ---- quick input ------------------------------------------------------------------------------------------

  /** The open quick pick, input box or palette. */
  get quickInput(): Locator {
    return this.page.locator('.quick-input-widget:visible');
  }

  /** Runs a command through the palette by its full title, with the category ("Culvert: Add Server..."). */
  async command(title: string): Promise<void> {
    // The palette also lists similar commands.
    const label = this.page.locator('.label-name:visible', { hasText: new RegExp(`^${escapePattern(title)}$`) });
    const row = this.quickInput.locator(QUICK_ROWS).filter({ has: label }).first();
    // An open palette does not notice that a command became available: opened again, it does.
    const chosen = async () => {
      await this.page.keyboard.press('F1');
      const input = this.quickInput.locator('input.input').first();
      await input.waitFor();
      await input.fill(`>${title}`);
      return row.click({ timeout: PALETTE_RETRY_MS }).then(
        () => true,
        async () => {
          await this.escape();
          return false;
        },
      );
    };
    await until(chosen, { timeoutMs: UI_TIMEOUT_MS, what: `the command ${title} in the palette` });
  }

  /** Titles that the palette offers for a text. Closes the palette. */
  async paletteItems(text: string): Promise<string[]> {
    await this.page.keyboard.press('F1');
    const input = this.quickInput.locator('input.input').first();
    await input.waitFor();
    await input.fill(`>${text}`);
    const items = new Set(await this.pickItems());
    // Only rows in sight exist: on until nothing new comes.
    for (let before = 0; items.size > before;) {
      before = items.size;
      // The first only goes to the last row in sight.
      for (let press = 0; press < 2; press++) await this.page.keyboard.press('PageDown');
      for (const item of await this.pickItems()) items.add(item);
    }
    await this.escape();
    return [...items];
  }

  /** The grey text in the empty input of a quick pick or input box. */
  async inputPlaceholder(): Promise<string> {
    return (await this.quickInput.locator('input.input').first().getAttribute('placeholder')) ?? '';
  }

  /** Waits for a quick pick or input box that shows the given text somewhere (its title, for example). */
  async quickInputWith(text?: string | RegExp): Promise<Locator> {
    const widget = text === undefined ? this.quickInput : this.quickInput.filter({ hasText: pattern(text) });
    await widget.waitFor();
    return widget;
  }

  /** Chooses an item of a quick pick. Of one that takes several it ticks or unticks the item, and makes sure that no other has changed. */
  async pick(label: string | RegExp, { title }: { title?: string | RegExp } = {}): Promise<void> {
    const widget = await this.quickInputWith(title);
    const row = this.quickRow(widget, label);
    await row.waitFor();
    // A row that is drawn anew for another item keeps its element: a click would find that one.
    await this.drawn(widget);
    if (await widget.evaluate(takesSeveral)) await this.toggleItem(widget, row);
    else await row.click();
  }

  /**
   * The first row of a quick pick whose label, description or detail shows a text. VS Code uses rows again for other items, and leaves what
   * they don't need in them, hidden: a row's whole text may hold that of an item long gone.
   */
  quickRow(widget: Locator, text: string | RegExp): Locator {
    const shown = this.page.locator('.monaco-icon-label:visible', { hasText: pattern(text) });
    return widget.locator(QUICK_ROWS).filter({ has: shown }).first();
  }

  /** Waits until the rows of a quick pick have been the same for some frames. */
  private async drawn(widget: Locator): Promise<void> {
    const rows = widget.locator(QUICK_ROWS);
    const look = async () => JSON.stringify(await rows.evaluateAll(placesOf));
    let before = '';
    await until(
      async () => {
        const now = await look();
        const same = now === before;
        before = now;
        return same;
      },
      { timeoutMs: UI_TIMEOUT_MS, what: 'the rows of the quick pick to stay as they are' },
    );
  }

  private async toggleItem(widget: Locator, row: Locator): Promise<void> {
    const rows = widget.locator(QUICK_ROWS);
    const wanted = new Map(await rows.evaluateAll(checksOf));
    const [[name, was] = ['', false]] = await row.evaluateAll(checksOf);
    wanted.set(name, !was);
    const wrong = async () => (await rows.evaluateAll(checksOf)).filter(([item, on]) => (wanted.get(item) ?? on) !== on);
    await until(
      async () => {
        const [[item] = []] = await wrong();
        if (item === undefined) return true;
        await rows
          .and(this.page.getByRole('checkbox', { name: item, exact: true }))
          .first()
          .click({ timeout: TRY_MS });
        // The click is taken at once or not at all.
        return (await wrong()).length === 0;
      },
      { timeoutMs: UI_TIMEOUT_MS, what: `only ${name} to change` },
    );
  }

  /** Labels of the items that a quick pick shows. */
  async pickItems(): Promise<string[]> {
    await this.quickInput.locator(QUICK_ROWS).first().waitFor();
    return this.quickInput.locator(`${QUICK_ROWS} .label-name:visible`).allInnerTexts();
  }

  /** Types into an input box, and accepts it unless `submit` is false. */
  async inputBox(text: string, { title, submit = true }: { title?: string | RegExp; submit?: boolean } = {}): Promise<void> {
    const widget = await this.quickInputWith(title);
    const input = widget.locator('input.input').first();
    if ((await input.getAttribute('type')) === 'password') noteSecret(text);
    await input.fill(text);
    if (submit) await input.press('Enter');
  }

  /** The line below an input box: the prompt or the complaint about what was typed. */
  async inputMessage(): Promise<string> {
    return (await this.quickInput.locator('.quick-input-message').innerText()).trim();
  }

  /** A button in the title of a quick pick or input box, by its tooltip ("Back"). */
  async quickInputButton(name: string | RegExp): Promise<void> {
    await this.quickInput
      .getByRole('button', { name: pattern(name) })
      .first()
      .click();
  }

  /** Presses Escape. */
  async escape(): Promise<void> {
    await this.page.keyboard.press('Escape');
  }

  // ---- notifications and dialogs ----------------------------------------------------------------------------

  /** A notification with this text, shown as a toast or in the notification center. */
  notification(text: string | RegExp): Locator {
    const items = ['.notifications-toasts', '.notifications-center'].map((part) => `${part} .notification-list-item:visible`).join(', ');
    return this.page.locator(items, { hasText: pattern(text) }).first();
  }

  /**
   * Waits for a notification. VS Code shows no more than three within 0.8 seconds, and puts the others into its list at once; nobody but a
   * test is as fast as that.
   */
  async notified(text: string | RegExp): Promise<Locator> {
    const notification = this.notification(text);
    await until(
      async () => {
        const seen = await notification.waitFor({ timeout: TOAST_MS }).then(
          () => true,
          () => false,
        );
        if (!seen) await this.exec('notifications.showList');
        return seen;
      },
      { timeoutMs: UI_TIMEOUT_MS, what: `the notification ${String(text)}` },
    );
    return notification;
  }

  /** Presses a button of a notification. */
  async clickNotification(text: string | RegExp, button: string | RegExp): Promise<void> {
    await until(
      async () => {
        const notification = await this.notified(text);
        // Stops the timer that hides it.
        await notification.hover({ timeout: TRY_MS });
        await notification
          .locator('.notification-list-item-buttons-container .monaco-button', { hasText: pattern(button) })
          .first()
          .click({ timeout: TRY_MS });
        return true;
      },
      { timeoutMs: UI_TIMEOUT_MS, what: `${String(button)} of the notification ${String(text)}` },
    );
  }

  /** Texts of all notifications on screen. */
  async notifications(): Promise<string[]> {
    return this.page.locator('.notification-list-item-message').allInnerTexts();
  }

  /** Removes all notifications. */
  async clearNotifications(): Promise<void> {
    await this.exec('notifications.clearAll');
  }

  /** Waits for a modal dialog, presses a button of it, and returns what it said. */
  async dialog(button: string | RegExp): Promise<string> {
    const dialog = this.page.locator('.monaco-dialog-box');
    await dialog.waitFor();
    const text = await dialog.innerText();
    await dialog
      .locator('.dialog-buttons .monaco-button', { hasText: pattern(button) })
      .first()
      .click();
    return text;
  }

  // ---- views ------------------------------------------------------------------------------------------------

  /** The entry of a view container in the activity bar. */
  activityBarItem(title: string): Locator {
    const label = this.page.locator(`[aria-label^="${title}"]`);
    return this.page.locator('.part.activitybar .action-item, .part.sidebar .composite-bar .action-item').filter({ has: label }).first();
  }

  /** Opens a view container of the activity bar by its title. A click on one that is open would close it. */
  async openView(title: string): Promise<void> {
    const shown = this.page.locator('.part.sidebar .composite.title h2', { hasText: pattern(title) });
    const opened = async () => {
      const item = this.activityBarItem(title);
      const classes = (await item.getAttribute('class', { timeout: TRY_MS })) ?? '';
      if (!classes.split(' ').includes('checked')) await item.click({ timeout: TRY_MS });
      return shown.waitFor({ timeout: TRY_MS }).then(
        () => true,
        () => false,
      );
    };
    await until(opened, { timeoutMs: UI_TIMEOUT_MS, what: `the view ${title}` });
  }

  /** A view in the side bar by its title. */
  pane(title: string | RegExp): Locator {
    return this.page.locator('.part.sidebar .pane').filter({ has: this.page.locator('.pane-header .title', { hasText: pattern(title) }) });
  }

  /** Opens a view in the side bar that is folded up. */
  async expandPane(title: string | RegExp): Promise<void> {
    await this.foldPane(title, 'true');
  }

  /** Folds up a view in the side bar, which leaves more room to the others. */
  async collapsePane(title: string | RegExp): Promise<void> {
    await this.foldPane(title, 'false');
  }

  private async foldPane(title: string | RegExp, expanded: 'true' | 'false'): Promise<void> {
    const header = this.pane(title).locator('.pane-header').first();
    const folded = async () => {
      if ((await header.getAttribute('aria-expanded', { timeout: TRY_MS })) === expanded) return true;
      await header.click({ timeout: TRY_MS });
      return (await header.getAttribute('aria-expanded', { timeout: TRY_MS })) === expanded;
    };
    await until(folded, {
      timeoutMs: UI_TIMEOUT_MS,
      what: `the view ${String(title)} to be ${expanded === 'true' ? 'open' : 'folded up'}`,
    });
  }

  /** The tree of one view, or of the whole side bar. */
  tree(paneTitle?: string | RegExp): Tree {
    return new Tree(this.page, paneTitle === undefined ? this.page.locator('.part.sidebar') : this.pane(paneTitle));
  }

  /** Presses a button in the title of a view. */
  async paneAction(paneTitle: string | RegExp, action: string): Promise<void> {
    const pane = this.pane(paneTitle);
    const button = pane.locator(`.pane-header .action-label[aria-label^="${action}"]`);
    // It is there only while the pointer is.
    const pressed = async () => {
      await pane.hover({ timeout: TRY_MS });
      await button.click({ timeout: TRY_MS });
      return true;
    };
    await until(pressed, { timeoutMs: UI_TIMEOUT_MS, what: `the button ${action}` });
  }

  /** Texts of the status bar items. */
  async statusBar(): Promise<string[]> {
    return this.page.locator('.part.statusbar .statusbar-item').allInnerTexts();
  }

  /** A status bar item by its text. */
  statusBarItem(text: string | RegExp): Locator {
    return this.page.locator('.part.statusbar .statusbar-item', { hasText: pattern(text) }).first();
  }

  // ---- editors ----------------------------------------------------------------------------------------------

  /** The active text editor. */
  get editor(): Locator {
    return this.page.locator('.editor-group-container.active .monaco-editor').first();
  }

  /** Opens a file in an editor (without the interface, so that it is certain). */
  async openFile(file: string, line?: number): Promise<void> {
    await this.eval(
      async (api, place) => {
        const document = await api.workspace.openTextDocument(place.file);
        const selection = place.line === undefined ? {} : { selection: new api.Range(place.line, 0, place.line, 0) };
        await api.window.showTextDocument(document, selection);
      },
      { file, line },
    );
    await this.editor.locator('.view-lines .view-line').first().waitFor();
  }

  /** The visible text of the active editor. */
  async editorText(): Promise<string> {
    return plainSpaces(await this.editor.locator('.view-lines').innerText());
  }

  /** The squiggles of one kind in the active editor. */
  squiggles(kind: 'error' | 'warning' | 'info' | 'hint' = 'warning'): Locator {
    return this.editor.locator(`.squiggly-${kind}`);
  }

  /** Shows the hover at a place of the active document (0-based) and returns its text, once it contains `expected`. */
  async hoverAt(line: number, character: number, expected?: string | RegExp): Promise<string> {
    await this.eval(
      (api, place) => {
        const editor = api.window.activeTextEditor;
        const position = new api.Position(place.line, place.character);
        if (editor) editor.selection = new api.Selection(position, position);
      },
      { line, character },
    );
    // A hover fills provider by provider, and is gone again if the editor changes.
    const hover = this.page.locator('.monaco-hover:visible').first();
    return until(
      async () => {
        if ((await hover.count()) === 0) {
          await this.exec('workbench.action.focusActiveEditorGroup');
          await this.exec('editor.action.showHover');
          await hover.waitFor({ timeout: TRY_MS });
        }
        const text = plainSpaces(await hover.innerText());
        return text.trim() && (expected === undefined || pattern(expected).test(text)) ? text : undefined;
      },
      { timeoutMs: UI_TIMEOUT_MS, what: `a hover with ${String(expected)}` },
    );
  }

  /** The rows of the Problems view. */
  async problems(): Promise<string[]> {
    await this.exec('workbench.actions.view.problems');
    const rows = this.page.locator('.markers-panel .monaco-list-row');
    await rows.first().waitFor();
    return rows.allInnerTexts();
  }

  /** The document of an extension's webview, which sits in two nested frames. */
  async webview(index = 0): Promise<FrameLocator> {
    const outer = this.page.locator('iframe.webview.ready').nth(index);
    await outer.waitFor({ state: 'attached' });
    const inner = outer.contentFrame().locator('iframe#active-frame');
    await inner.waitFor({ state: 'attached' });
    return inner.contentFrame();
  }

  // ---- chat -------------------------------------------------------------------------------------------------

  /** The Chat view. See `openCulvert({ chat: true })`. */
  get chat(): Chat {
    return new Chat(this);
  }
}

/** Whether a quick pick takes several items. Runs in the page, like the two below. */
function takesSeveral(widget: { readonly classList: { contains(name: string): boolean } }): boolean {
  return widget.classList.contains('show-checkboxes');
}

interface PageElement {
  readonly textContent: string | null;
  getAttribute(name: string): string | null;
  getBoundingClientRect(): { readonly y: number };
}

/** What stands where. */
function placesOf(rows: readonly PageElement[]): (readonly [string | null, number])[] {
  return rows.map((row) => [row.textContent, row.getBoundingClientRect().y]);
}

/** What is ticked, by the names of the rows. */
function checksOf(rows: readonly PageElement[]): (readonly [string, boolean])[] {
  return rows.flatMap((row) => {
    const name = row.getAttribute('aria-label');
    const checked = row.getAttribute('aria-checked');
    return name === null || checked === null ? [] : [[name, checked === 'true'] as const];
  });
}

function plainSpaces(text: string): string {
  return text.replaceAll('\u00a0', ' ');
}

/** The companions whose extension hosts are alive. */
function announcements(server: VSCodeServer): Announcement[] {
  const folder = server.companions;
  if (!folder) return [];
  return fs
    .readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => {
      try {
        const announcement = JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')) as Announcement;
        process.kill(announcement.pid, 0);
        return [announcement];
      } catch {
        // Gone in the meantime.
        return [];
      }
    });
}
