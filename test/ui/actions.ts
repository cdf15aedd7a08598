/** What users do with Culvert, in the words of its interface, for several suites. */
import type { Culvert } from '../harness/openCulvert.ts';
import { escapePattern } from '../harness/pattern.ts';
import { until } from '../harness/until.ts';
import type { Tree } from '../harness/tree.ts';
import type { Workbench } from '../harness/workbench.ts';

/** Pause between two tries to answer a prompt, which takes no answer in its first moments, in milliseconds. */
const ANSWER_RETRY_MS = 200;
/** How long one click may take, in milliseconds. */
const CLICK_TIMEOUT_MS = 1_000;

/** How long a ticked box may take to become a grant before it is ticked again, in milliseconds. */
const TICK_RETRY_MS = 5_000;

/** Culvert's views, from top to bottom. */
const VIEWS = ['Grants', 'Activity', 'Leak Warnings', 'Credentials'] as const;
type ViewName = (typeof VIEWS)[number];

/** What a call brought back: its result, or the text of the error that the agent gets. */
export interface CallResult {
  readonly ok: boolean;
  readonly text: string;
}

/** A server as it is typed into Add Server. */
export interface NewServer {
  readonly label: string;
  readonly url: string;
  /** Row of the third step; a bearer token if left out. */
  readonly authentication?: 'Bearer token' | 'Named header' | 'Basic' | 'Query parameter' | 'None';
  /** Name of the header or parameter, or the user name. */
  readonly detail?: string;
  readonly secret?: string;
  /** How access starts. */
  readonly start?: 'Ask every time' | 'Tools that only read' | 'Nothing';
}

/** Title of a step of Add Server by its number: two steps in a row share the widget, only this tells them apart. */
export function step(number: number): RegExp {
  return new RegExp(`Add Server \\(${number}/`);
}

/** Adds a server from the palette, through every step, and waits until it is there. */
export async function addServer(window: Workbench, server: NewServer): Promise<void> {
  await window.command('Culvert: Add Server…');
  await fillAddServer(window, server);
  await chooseStart(window, server.label, server.start ?? 'Ask every time');
}

/** Fills in the steps of Add Server, from the first one on; the trial follows. */
export async function fillAddServer(window: Workbench, server: NewServer): Promise<void> {
  const { authentication = 'Bearer token', detail, secret } = server;
  await window.inputBox(server.label, { title: step(1) });
  await window.pick('At a URL', { title: step(2) });
  await window.inputBox(server.url, { title: step(3) });
  await window.pick(authentication, { title: step(4) });
  let next = 5;
  if (detail !== undefined) await window.inputBox(detail, { title: step(next++) });
  if (secret !== undefined) await window.inputBox(secret, { title: step(next) });
}

/** Answers the question that follows a successful trial, and waits until the server is there. */
export async function chooseStart(window: Workbench, label: string, start: NonNullable<NewServer['start']>): Promise<void> {
  await window.pick(start, { title: 'Switch tools on one by one' });
  await told(window, `${label} is protected by Culvert`);
}

/** Waits for a notification, shown as a toast or in the list of VS Code. */
export async function told(window: Workbench, text: string | RegExp): Promise<void> {
  await window.notified(text);
}

/** The complaint about what was typed, once there is one that matches. */
export async function complaint(window: Workbench, expected: RegExp): Promise<string> {
  return until(
    async () => {
      const message = await window.inputMessage();
      return expected.test(message) ? message : undefined;
    },
    { what: `a message ${String(expected)}` },
  );
}

/** What stands in the open input box. */
export function typed(window: Workbench): Promise<string> {
  return window.quickInput.locator('input.input').first().inputValue();
}

/** Calls a tool as an agent does. Never rejects. */
export async function call(window: Workbench, tool: string, input: object = {}): Promise<CallResult> {
  return window.invokeTool(tool, input).then(
    (text) => ({ ok: true, text }),
    (error: unknown) => ({ ok: false, text: (error instanceof Error ? error.message : String(error)).split('\n    at ')[0] ?? '' }),
  );
}

/** Title of the question about a tool. */
export function question(tool: string): RegExp {
  return new RegExp(`Culvert: allow “?${escapePattern(tool)}”? of `);
}

/** Answers the question about a tool, once it is shown and takes an answer. */
export async function answer(window: Workbench, tool: string, choice: string): Promise<void> {
  await answerPrompt(window, question(tool), choice);
}

/** Chooses an answer of a question with this title, once it is shown and takes an answer. */
export async function answerPrompt(window: Workbench, title: RegExp, choice: string): Promise<void> {
  const prompt = await window.quickInputWith(title);
  // Of two windows the one behind draws rarely.
  await window.page.bringToFront();
  // An argument may say the same as an answer.
  const label = window.page.locator('.label-name:visible', { hasText: new RegExp(`^\\s*${escapePattern(choice)}$`) });
  const row = prompt.locator('.quick-input-list .monaco-list-row').filter({ has: label });
  await until(
    async () => {
      if (!(await prompt.isVisible())) return true;
      await row.click({ timeout: CLICK_TIMEOUT_MS }).catch(() => undefined);
      return prompt.waitFor({ state: 'hidden', timeout: ANSWER_RETRY_MS }).then(
        () => true,
        () => false,
      );
    },
    { what: `“${choice}” to be accepted` },
  );
}

/** Goes from a step of the question about a tool to the next by a row of it. */
export async function advance(window: Workbench, tool: string, choice: string): Promise<void> {
  const prompt = await window.quickInputWith(question(tool));
  const label = window.page.locator('.label-name:visible', { hasText: new RegExp(`^\\s*${escapePattern(choice)}$`) });
  const row = prompt.locator('.quick-input-list .monaco-list-row').filter({ has: label });
  await row.waitFor();
  const before = await prompt.locator('.quick-input-title').innerText();
  await until(
    async () => {
      if ((await prompt.locator('.quick-input-title').innerText()) !== before) return true;
      await row.click({ timeout: CLICK_TIMEOUT_MS }).catch(() => undefined);
      return false;
    },
    { what: `“${choice}” to lead on`, intervalMs: ANSWER_RETRY_MS },
  );
}

/** Calls a tool that asks, gives the answer, and returns the result. */
export async function callAndAnswer(
  window: Workbench,
  tool: { readonly id: string; readonly name: string },
  input: object,
  choice: string,
): Promise<CallResult> {
  const result = call(window, tool.id, input);
  // A call that ended without a question tells why.
  const unasked = result.then(({ text }) => {
    throw new Error(`${tool.name} ended without a question: ${text}`);
  });
  unasked.catch(() => undefined);
  await Promise.race([window.quickInputWith(question(tool.name)), unasked]);
  await answer(window, tool.name, choice);
  return result;
}

/** Whether a tool is offered to agents, by the end of its name. */
export function isOffered(window: Workbench, name: string): Promise<boolean> {
  return window.eval((api, end) => api.lm.tools.some((tool) => tool.name.endsWith(end)), `_${name}`);
}

/** Waits until a tool is offered to agents, or no longer is. */
export async function waitOffered(window: Workbench, name: string, offered: boolean): Promise<void> {
  await until(async () => (await isOffered(window, name)) === offered, {
    what: `“${name}” ${offered ? 'to be offered' : 'to be gone'}`,
  });
}

/**
 * Ticks or unticks a tool in Grants, and waits until its grant says so. VS Code drops a click on a row that is being drawn again at that
 * moment, so it may take a second one, as by hand.
 */
export async function tick(grants: Tree, tool: string, ticked: boolean): Promise<void> {
  await until(
    async () => {
      if ((await grants.isChecked(tool)) !== ticked) await grants.toggle(tool);
      return grants.waitDescription(tool, ticked ? /^allowed$/ : /^denied$/, TICK_RETRY_MS).then(
        () => true,
        () => false,
      );
    },
    { what: `“${tool}” to be ${ticked ? 'allowed' : 'denied'}` },
  );
}

/**
 * Chooses an entry of a row's menu in Grants, and waits until the row says what comes of it. While VS Code draws a row anew it forgets which
 * one was meant, and the user is asked to do it once more.
 */
export async function choose(grants: Tree, label: string, entry: string | RegExp, description: string | RegExp): Promise<void> {
  await until(
    async () => {
      await grants.contextMenu(label, entry);
      return grants.waitDescription(label, description, TICK_RETRY_MS).then(
        () => true,
        () => false,
      );
    },
    { what: `“${label}” to be ${String(description)}` },
  );
}

/** Titles of Culvert's own commands in the palette. */
export async function paletteCommands(window: Workbench): Promise<string[]> {
  const items = await window.paletteItems('Culvert: ');
  return items
    .filter((item) => item.startsWith('Culvert: ') && !item.startsWith('Culvert: Focus on'))
    .map((item) => item.slice('Culvert: '.length))
    .sort();
}

/** Opens Culvert's side bar with these views unfolded and the others folded up. A row that is scrolled out of sight can't be found. */
export async function openViews(window: Workbench, ...views: readonly ViewName[]): Promise<void> {
  await window.openView('Culvert');
  for (const view of VIEWS) await (views.includes(view) ? window.expandPane(view) : window.collapsePane(view));
}

/** The tools that reached the demo server, oldest first. */
export function reached({ upstream }: Culvert): string[] {
  return upstream.toolCalls().map(({ body }) => (JSON.parse(body) as { params: { name: string } }).params.name);
}

/** Changes a user setting in a window; `undefined` brings its default back. */
export async function setSetting(window: Workbench, key: string, value: unknown): Promise<void> {
  await window.eval((api, setting) => api.workspace.getConfiguration().update(setting.key, setting.value, api.ConfigurationTarget.Global), {
    key,
    value,
  });
}
