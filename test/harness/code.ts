/**
 * Runs a suite inside the extension host of the VS Code server build, the job that a desktop VS Code does for @vscode/test-electron. Takes
 * the part of the desktop's command line that @vscode/test-electron passes:
 *
 *   code --extensionDevelopmentPath=FOLDER --extensionTestsPath=FILE [--user-data-dir=FOLDER] [FOLDER]
 *
 * Uses VS Code's own mechanism: the workbench is given the two paths, the extension host loads the suite and calls run(), and at the end the
 * workbench calls window.codeAutomationExit(code), which is exposed to the page here.
 *
 * Exit code: 0 passed, 1 the suite failed, 2 anything else (timeout, crash, missing browser).
 */
import fs from 'node:fs';
import path from 'node:path';
import { launchBrowser, MissingPrerequisite, newProfile } from './chromium.ts';
import { PROJECT_ROOT, SHOTS } from './paths.ts';
import { remoteUri, startServer, windowUrl } from './server.ts';
import type { HostLine } from './suiteWrapper.ts';

const SUITE_TIMEOUT_MS = 30 * 60_000;
/** A reload of the window ends the extension host as well; only one that stays away this long has died. */
const HOST_GONE_MS = 20_000;
const POLL_MS = 100;

/** What the command line says. */
interface CommandLine {
  readonly extensionDevelopmentPath: string;
  readonly extensionTestsPath: string;
  readonly folder: string | undefined;
  readonly settings: Record<string, unknown>;
}

function parse(args: readonly string[]): CommandLine {
  const values = (name: string) => args.filter((arg) => arg.startsWith(`--${name}=`)).map((arg) => arg.slice(name.length + 3));
  const [extensionTestsPath] = values('extensionTestsPath');
  const [extensionDevelopmentPath, ...others] = values('extensionDevelopmentPath');
  if (!extensionTestsPath || !extensionDevelopmentPath || others.length > 0)
    throw new Error('usage: code --extensionDevelopmentPath=FOLDER --extensionTestsPath=FILE [FOLDER]');
  const settingsFile = values('user-data-dir')
    .map((folder) => path.join(folder, 'User/settings.json'))
    .find((file) => fs.existsSync(file));
  return {
    extensionDevelopmentPath: path.resolve(extensionDevelopmentPath),
    extensionTestsPath: path.resolve(extensionTestsPath),
    folder: args.find((arg) => !arg.startsWith('--')),
    settings: settingsFile ? (JSON.parse(fs.readFileSync(settingsFile, 'utf8')) as Record<string, unknown>) : {},
  };
}

async function runSuite(command: CommandLine): Promise<number> {
  // @vscode/test-electron hands the suite's environment to this process; the extension host gets it through the server.
  const passedOn = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[0].startsWith('CULVERT_') && entry[1] !== undefined,
  );
  const server = await startServer({ testMode: true, settings: command.settings, env: Object.fromEntries(passedOn) });
  const output = path.join(server.runFolder, 'output.jsonl');
  const browser = await launchBrowser();
  let code = 2;
  const timers: NodeJS.Timeout[] = [];
  try {
    const profile = await newProfile(browser);
    const page = await profile.newPage();
    code = await new Promise<number>((resolve, reject) => {
      let over = false;
      const finish = (result: number, problem?: string) => {
        if (over) return;
        over = true;
        if (problem) console.error(`[code] ${problem}`);
        resolve(result);
      };
      const fail = (problem: string) => finish(2, problem);
      timers.push(setTimeout(() => fail(`no result after ${SUITE_TIMEOUT_MS / 60_000} minutes`), SUITE_TIMEOUT_MS));
      void server.ended.then(() => fail('the VS Code server ended'));
      page.on('crash', () => fail('the window crashed'));
      page.on('dialog', (dialog) => void dialog.accept().catch(() => undefined));
      const watch = new HostWatch(output);
      timers.push(
        setInterval(() => {
          const gone = watch.poll();
          if (gone !== undefined) fail(`extension host ${gone} died`);
        }, POLL_MS),
      );
      const open = async () => {
        await profile.exposeFunction('codeAutomationExit', (exit: number) => {
          watch.poll();
          // VS Code also answers 0 when its extension host was killed.
          if (exit === 0 && !watch.done) fail('the suite ended without a result');
          else finish(exit === 0 ? 0 : 1);
        });
        await profile.exposeFunction('codeAutomationLog', () => undefined);
        await page.goto(
          windowUrl(server, {
            ...(command.folder && { folder: path.resolve(command.folder) }),
            extensionDevelopmentPath: command.extensionDevelopmentPath,
            payload: {
              extensionTestsPath: remoteUri(server, path.join(PROJECT_ROOT, 'out/host/suiteWrapper.cjs')),
              extensionEnvironment: JSON.stringify({ CULVERT_TEST_OUTPUT: output, CULVERT_TEST_SUITE: command.extensionTestsPath }),
            },
          }),
        );
      };
      open().catch(reject);
    });
    if (code !== 0) {
      fs.mkdirSync(SHOTS, { recursive: true });
      await page.screenshot({ path: path.join(SHOTS, 'FAILED-host.png') }).catch(() => undefined);
    }
  } finally {
    for (const timer of timers) clearTimeout(timer);
    await browser.close();
    if (code === 2) fs.cpSync(server.logFile, path.join(PROJECT_ROOT, 'out', 'host-server.log'));
    await server.stop();
  }
  return code;
}

/** Prints what the extension host writes, and notices when it dies. */
class HostWatch {
  /** Whether the suite has ended by itself since the extension host last started. */
  done = false;
  private readonly file: string;
  private position = 0;
  private pid: number | undefined;
  private goneSince: number | undefined;

  constructor(file: string) {
    this.file = file;
  }

  /** Returns the process id of an extension host that died before its suite ended. */
  poll(): number | undefined {
    this.read();
    if (this.pid === undefined || this.done) return undefined;
    try {
      process.kill(this.pid, 0);
      this.goneSince = undefined;
    } catch {
      this.goneSince ??= Date.now();
      if (Date.now() - this.goneSince > HOST_GONE_MS) return this.pid;
    }
    return undefined;
  }

  private read(): void {
    const size = fs.statSync(this.file, { throwIfNoEntry: false })?.size ?? 0;
    if (size <= this.position) return;
    const descriptor = fs.openSync(this.file, 'r');
    const buffer = Buffer.alloc(size - this.position);
    fs.readSync(descriptor, buffer, 0, buffer.length, this.position);
    fs.closeSync(descriptor);
    // Cut at a line's end, which is never inside a character.
    const end = buffer.lastIndexOf(10) + 1;
    this.position += end;
    for (const line of buffer.subarray(0, end).toString().split('\n').filter(Boolean)) this.take(JSON.parse(line) as HostLine);
  }

  private take(line: HostLine): void {
    switch (line.kind) {
      case 'output':
        process.stdout.write(line.text);
        break;
      case 'host':
        this.pid = line.pid;
        this.done = false;
        break;
      case 'done':
        this.done = true;
        break;
    }
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
try {
  process.exitCode = await runSuite(parse(process.argv.slice(2)));
} catch (error) {
  console.error(error instanceof MissingPrerequisite ? error.message : error);
  process.exitCode = 2;
}
