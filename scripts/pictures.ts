/**
 * `npm run pictures`: takes the pictures of the README from the real thing, a VS Code with Culvert and a made-up issue tracker, into
 * `media/readme`. Besides the times and the port they show the same every time.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { openCulvert, type Culvert } from '../test/harness/openCulvert.ts';
import { PROJECT_ROOT } from '../test/harness/paths.ts';
import { until } from '../test/harness/until.ts';
import type { Workbench } from '../test/harness/workbench.ts';
import { addServer, advance, answer, call, openViews, question, setSetting } from '../test/ui/actions.ts';
import { writeHistory } from '../test/ui/history.ts';
import { McpPeer, type PeerTool } from '../test/ui/mcpPeer.ts';
import { build } from './build.ts';

const TARGET = path.join(PROJECT_ROOT, 'media/readme');
const WIDTH = 1200;
const SIDE_BAR_HEIGHT = 760;
const REVIEW_HEIGHT = 660;
const APPROVAL_HEIGHT = 400;
/** All pictures together, in bytes. They travel with every clone. */
const BUDGET_BYTES = 1_350_000;
/** Right edge of the side bar. */
const SIDE_BAR_RIGHT = 500;
/** The same where the editor and the side panel need room beside it. */
const NARROW_SIDE_BAR_RIGHT = 350;
/** Days that the side panel has to show. */
const PAST_DAYS = 29;

/** Name in the file and theme in the settings. */
const THEMES = { dark: 'Default Dark Modern', light: 'Default Light Modern', contrast: 'Default High Contrast' } as const;

const text = { type: 'string' } as const;
const reading = { annotations: { readOnlyHint: true } } as const;
const TOOLS: readonly PeerTool[] = [
  { name: 'add_comment', description: 'Comments on an issue.', inputSchema: { type: 'object', properties: { issue: text, text } } },
  { name: 'close_issue', description: 'Closes an issue.', inputSchema: { type: 'object', properties: { issue: text, reason: text } } },
  {
    name: 'create_issue',
    description: 'Opens an issue.',
    inputSchema: { type: 'object', properties: { project: text, title: text, body: text } },
  },
  {
    name: 'get_issue',
    description: 'One issue with its comments.',
    inputSchema: { type: 'object', properties: { issue: text } },
    ...reading,
  },
  { name: 'search_issues', description: 'Finds issues.', inputSchema: { type: 'object', properties: { query: text } }, ...reading },
  { name: 'show_webhooks', description: 'The webhooks of a project.', inputSchema: { type: 'object', properties: {} }, ...reading },
];

const README = `# Parcel Desk

The back office of a small delivery service.

## Known problems

- Labels are cut off on A6 printers (see the issue tracker, PD-212).
- Search finds nothing that was delivered before 2024.

## Working on it

1. \`npm ci\`
2. \`npm start\`
3. Ask the agent for the oldest open issue and take it from there.
`;

await build({ tests: true });
const token = `it_${randomBytes(24).toString('base64url')}`;
const peer = await new McpPeer(
  ({ headers }) => headers.authorization === `Bearer ${token}`,
  TOOLS,
  (tool) => (tool === 'show_webhooks' ? `[{"url": "https://hooks.example/parcel-desk", "authorization": "Bearer ${token}"}]` : 'done'),
).start();
const culvert = await openCulvert({ files: { 'README.md': README }, settings: { 'editor.wordWrap': 'on', 'window.title': 'Parcel Desk' } });
try {
  fs.mkdirSync(TARGET, { recursive: true });
  await fill(culvert.window, culvert.workspace);
  await eachTheme(culvert.window, 'sidebar', SIDE_BAR_HEIGHT);
  await ask(culvert.window);
  await eachTheme(culvert.window, 'approval', APPROVAL_HEIGHT);
  await widen(culvert.window);
  await eachTheme(culvert.window, 'widening', APPROVAL_HEIGHT, ['dark']);
  await review(culvert);
  await eachTheme(culvert.window, 'activity', REVIEW_HEIGHT);
} finally {
  await culvert.close();
  await peer.stop();
}
const bytes = fs.readdirSync(TARGET).reduce((sum, file) => sum + fs.statSync(path.join(TARGET, file)).size, 0);
console.log(`${TARGET}: ${Math.ceil(bytes / 1000)} KB`);
if (bytes > BUDGET_BYTES) throw new Error(`The pictures take more than ${BUDGET_BYTES / 1000} KB.`);

/** Brings every view to show something. */
async function fill(window: Workbench, workspace: string): Promise<void> {
  await window.page.setViewportSize({ width: WIDTH, height: SIDE_BAR_HEIGHT });
  await window.openFile(path.join(workspace, 'README.md'));
  await addServer(window, { label: 'Issue Tracker', url: peer.url.replace('127.0.0.1', 'localhost'), secret: token });
  await openViews(window, 'Grants', 'Activity', 'Leak Warnings', 'Credentials');
  await window.startMcp(/_get_issue$/);
  await dragSideBar(window, SIDE_BAR_RIGHT);

  const calls: [tool: string, input: object, choice: string | undefined][] = [
    ['search_issues', { query: 'label cut off' }, 'Always'],
    ['get_issue', { issue: 'PD-212' }, 'Allow for 15 minutes'],
    ['search_issues', { query: 'A6 printer' }, undefined],
    ['close_issue', { issue: 'PD-212', reason: 'duplicate' }, 'Deny'],
    ['show_webhooks', {}, 'Allow once'],
    ['add_comment', { issue: 'PD-212', text: 'A6 needs a smaller margin.' }, 'Allow once'],
  ];
  for (const [tool, input, choice] of calls) {
    const result = call(window, `mcp_issue_tracker_${tool}`, input);
    if (choice !== undefined) await answer(window, tool, choice);
    await result;
  }
  await window.tree('Activity').row('add_comment').waitFor();
  await window.tree('Activity').waitDescription('Today', new RegExp(`^${calls.length} calls`));
  await window.statusBarItem('Culvert: agents have access').waitFor();
  await window
    .tree('Leak Warnings')
    .row(/in an answer/)
    .waitFor();
}

/** Drags the edge of the side bar. */
async function dragSideBar({ page }: Workbench, to: number): Promise<void> {
  const box = await page.locator('.part.sidebar').boundingBox();
  if (!box) throw new Error('The side bar is not shown.');
  await page.mouse.move(box.x + box.width, SIDE_BAR_HEIGHT / 2);
  await page.mouse.down();
  await page.mouse.move(to, SIDE_BAR_HEIGHT / 2, { steps: 10 });
  await page.mouse.up();
}

/** Lets a call wait for an answer. */
async function ask(window: Workbench): Promise<void> {
  const input = {
    project: 'parcel-desk',
    title: 'Labels are cut off on A6',
    body: 'Steps: print PD-212 on an A6 printer.\nExpected: the whole label.',
    labels: 'bug',
  };
  void call(window, 'mcp_issue_tracker_create_issue', input);
  await window.quickInputWith(question('create_issue'));
}

/** Goes on to shape a grant from the call. */
async function widen(window: Workbench): Promise<void> {
  await advance(window, 'create_issue', 'Allow some like this…');
  await advance(window, 'create_issue', 'project “parcel-desk”, anything else');
}

/** Shows what was done: the tree, the record of a call, and the pictures of a month. */
async function review(shown: Culvert): Promise<void> {
  const { window } = shown;
  await window.escape();
  await window.exec('culvert.answerWaiting');
  await answer(window, 'create_issue', 'Deny');
  await window.exec('workbench.action.closeAllEditors');
  writeHistory(shown, PAST_DAYS);
  await openViews(window, 'Activity');
  await dragSideBar(window, NARROW_SIDE_BAR_RIGHT);
  await window.exec('culvert.showPanel');
  const panel = await window.webview();
  await panel.getByRole('radio', { name: '30 d' }).click();
  await panel.locator('.heat .cell').first().waitFor();
  await panel.locator('.section[data-name="calls"] > summary').click();
  await window.tree('Activity').row('Load more').waitFor();
  await window.tree('Activity').select('show_webhooks');
  await window.editor.locator('.codelens-decoration').first().waitFor();
}

/** Takes one picture in each of these themes. */
async function eachTheme(
  window: Workbench,
  name: string,
  height: number,
  themes: readonly (keyof typeof THEMES)[] = ['dark', 'light', 'contrast'],
): Promise<void> {
  for (const suffix of themes) {
    const theme = THEMES[suffix];
    await setSetting(window, 'workbench.colorTheme', theme);
    const expected = suffix === 'contrast' ? 'hc-black' : suffix === 'dark' ? 'vs-dark' : 'vs';
    await until(() => window.page.locator(`.monaco-workbench.${expected}`).isVisible(), { what: `the theme ${theme}` });
    await window.clearNotifications();
    await window.page.mouse.move(WIDTH / 2, SIDE_BAR_HEIGHT - 100);
    // Hovers and toasts fade out.
    await until(async () => (await window.page.locator('.monaco-hover:visible, .notification-toast:visible').count()) === 0);
    const file = path.join(TARGET, `${name}-${suffix}.png`);
    await window.page.screenshot({ path: file, clip: { x: 0, y: 0, width: WIDTH, height } });
  }
}
