/** Culvert in a real VS Code in a real browser, for UI tests. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Browser, BrowserContext } from 'playwright-core';
import { writeDemoFile } from '../../scripts/demo/demoFile.ts';
import { startDemoUpstream, type DemoUpstream } from '../../scripts/demo/upstream.ts';
import { noteSecret } from '../support/noted.ts';
import { launchBrowser, newProfile } from './chromium.ts';
import { SHOTS } from './paths.ts';
import { seedState, startServer, type VSCodeServer } from './server.ts';
import { stageExtension } from './stageExtension.ts';
import { Workbench } from './workbench.ts';

/** How long everything may take to start, in milliseconds: the first run also fetches VS Code. */
const START_TIMEOUT_MS = 400_000;

/** Options of {@link openCulvert}. */
export interface CulvertOptions {
  /** Starts the demo server (`culvert.upstream`), without telling Culvert of it. */
  readonly upstream?: boolean;
  /** Starts the demo server, and the extension in development mode with that server already added under this label. */
  readonly demo?: string;
  /** Runs the extension in development mode instead of as an installed one. Implied by `demo`. */
  readonly development?: boolean;
  /** Prepares the Chat view for agent mode with the scripted model. */
  readonly chat?: boolean;
  /** VS Code's user settings, on top of the harness's. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Files of the workspace by relative path. */
  readonly files?: Readonly<Record<string, string>>;
  /** Environment of the extension hosts. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A running VS Code with Culvert, and its first window. */
export interface Culvert {
  readonly server: VSCodeServer;
  readonly browser: Browser;
  /** The user of the first window. */
  readonly profile: BrowserContext;
  /** The first window. */
  readonly window: Workbench;
  /** All windows opened so far. */
  readonly windows: readonly Workbench[];
  /** The folder that is open. */
  readonly workspace: string;
  /** The demo server. @throws if it was not asked for. */
  readonly upstream: DemoUpstream;
  /** Opens another window: of the same user on the same folder, unless told otherwise. */
  openWindow(options?: { readonly folder?: string; readonly profile?: BrowserContext }): Promise<Workbench>;
  /** A user with secrets and state of their own on the same server. */
  newUser(): Promise<BrowserContext>;
  /** Pictures of all open windows in `out/shots`; returns the files. */
  screenshots(name: string): Promise<string[]>;
  close(): Promise<void>;
}

/** Starts a VS Code server with the built extension, a browser, and a first window on a new workspace. */
export async function openCulvert(options: CulvertOptions = {}): Promise<Culvert> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const runFolder = fs.mkdtempSync(path.join(os.tmpdir(), 'culvert-'));
    const workspace = path.join(runFolder, 'workspace');
    for (const [file, content] of Object.entries({ 'README.md': '# Sample workspace\n', ...options.files })) {
      fs.mkdirSync(path.dirname(path.join(workspace, file)), { recursive: true });
      fs.writeFileSync(path.join(workspace, file), content);
    }
    const staged = stageExtension(path.join(runFolder, 'culvert'));

    const upstream = options.upstream === true || options.demo !== undefined ? await startDemoUpstream() : undefined;
    if (upstream) closers.push(() => upstream.close());
    noteSecret(upstream?.token);
    const demoFile = path.join(runFolder, 'demo.json');
    if (upstream && options.demo !== undefined) writeDemoFile(demoFile, { label: options.demo, url: upstream.url, token: upstream.token });

    const development = options.development === true || options.demo !== undefined;
    const server = await startServer({
      runFolder,
      companion: true,
      extensions: development ? [] : [{ folder: staged }],
      settings: {
        // The utility requests of the chat (titles) go to the scripted model too, and agent mode starts MCP servers by itself.
        ...(options.chat && { 'chat.byokUtilityModelDefault': 'mainAgent', 'chat.mcp.autostart': 'newAndOutdated' }),
        ...options.settings,
      },
      env: { ...(options.demo !== undefined && { CULVERT_DEMO: demoFile }), ...options.env },
    });
    closers.push(() => server.stop());
    const browser = await launchBrowser();
    closers.push(() => browser.close());

    const windows: Workbench[] = [];
    const newUser = async () => {
      const user = await newProfile(browser);
      // Otherwise the chat extension is off until somebody signs in.
      if (options.chat) await seedState(user, server, { builtinChatExtensionEnablementMigration: 'true' });
      return user;
    };
    const profile = await newUser();
    const openWindow: Culvert['openWindow'] = async (choice = {}) => {
      const window = await Workbench.open(choice.profile ?? profile, server, {
        folder: choice.folder ?? workspace,
        ...(development && { extensionDevelopmentPath: staged }),
      });
      // The status bar item shows up once everything is open.
      await window.statusBarItem(/Culvert/).waitFor();
      windows.push(window);
      if (options.chat) await window.chat.ready();
      return window;
    };
    const window = await openWindow();
    return {
      server,
      browser,
      profile,
      window,
      windows,
      workspace,
      get upstream() {
        if (!upstream) throw new Error('openCulvert() was not asked for the demo server');
        return upstream;
      },
      openWindow,
      newUser,
      async screenshots(name) {
        const open = windows.filter(({ page }) => !page.isClosed());
        return Promise.all(
          open.map((shown, index) => shown.screenshot(path.join(SHOTS, `${fileName(name)}${index ? `-${index + 1}` : ''}.png`))),
        );
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Opens Culvert before the tests of the surrounding `describe`, closes it after them, and takes pictures of all windows when a test fails.
 * Returns a function, because there is nothing before the first hook has run.
 */
export function useCulvert(options: CulvertOptions = {}): () => Culvert {
  let culvert: Culvert | undefined;
  before('open VS Code with Culvert', async function () {
    this.timeout(START_TIMEOUT_MS);
    culvert = await openCulvert(options);
  });
  afterEach('take pictures of a failure', async function () {
    if (this.currentTest?.state !== 'failed') return;
    const files = await culvert?.screenshots(`FAILED-${this.currentTest.fullTitle()}`);
    console.log(`      pictures: ${files?.join(' ') ?? 'none'}`);
  });
  after('close VS Code', async function () {
    const suite = this.test?.parent;
    // Where what comes before the tests failed, none of them ran.
    if (culvert && suite?.tests.every(({ state, pending }) => state === undefined && !pending) === true)
      console.log(`      pictures: ${(await culvert.screenshots(`FAILED-${suite.fullTitle()}`)).join(' ')}`);
    await culvert?.close();
  });
  return () => {
    if (!culvert) throw new Error('Culvert is open only while tests and hooks run.');
    return culvert;
  };
}

function fileName(text: string): string {
  return text.replace(/[^\w.-]+/g, '-').slice(0, 120);
}
