/** Finds, installs and starts the browser that shows VS Code's workbench in tests. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { chromium, type Browser, type BrowserContext } from 'playwright-core';

const PACKAGES = ['chromium', 'fonts-dejavu-core'];
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const INSTALL = `apt-get update && apt-get install -y --no-install-recommends ${PACKAGES.join(' ')}`;

/** Something the tests need is not on this machine. The message says what to do; runners end with exit code 2. */
export class MissingPrerequisite extends Error {
  override readonly name = 'MissingPrerequisite';
}

/** Path of a Chromium or Chrome executable: the one that `CHROMIUM` names, or the first known name on the PATH. */
export function findChromium(): string | undefined {
  const given = process.env['CHROMIUM'];
  if (given) return fs.existsSync(given) ? given : undefined;
  const folders = [...(process.env['PATH'] ?? '').split(path.delimiter), '/usr/bin', '/usr/local/bin'];
  return folders.flatMap((folder) => NAMES.map((name) => path.join(folder, name))).find((file) => fs.existsSync(file));
}

/**
 * Path of Chromium; installs it from Debian's packages when it is missing and this process may do so (root, apt-get).
 * @throws {MissingPrerequisite} with the command to run otherwise.
 */
export function ensureChromium(log = (message: string) => console.error(`[chromium] ${message}`)): string {
  const found = findChromium();
  if (found) return found;
  if (process.env['CHROMIUM']) throw new MissingPrerequisite(`CHROMIUM names ${process.env['CHROMIUM']}, which is not there.`);
  const canInstall = process.getuid?.() === 0 && fs.existsSync('/usr/bin/apt-get');
  if (!canInstall) {
    throw new MissingPrerequisite(
      `The tests drive VS Code in Chromium, which is missing. Install it, or name one in CHROMIUM. On Debian:\n\n  sudo sh -c '${INSTALL}'\n`,
    );
  }
  log(`missing; running: ${INSTALL}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  execFileSync('apt-get', ['update', '-qq'], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...PACKAGES], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const installed = findChromium();
  if (!installed) throw new MissingPrerequisite('Chromium was installed but is not on the PATH.');
  return installed;
}

/** Starts a headless Chromium that reaches loopback addresses only. */
export async function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: ensureChromium(),
    headless: true,
    args: [
      '--no-sandbox', // needed when running as root
      '--disable-dev-shm-usage',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-default-apps',
      // Two windows at once: the one behind must not be slowed down.
      '--disable-background-timer-throttling',
      '--disable-renderer-backgrounding',
      '--disable-backgrounding-occluded-windows',
      // Whatever VS Code looks up elsewhere fails at once instead of hanging.
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE [::1], EXCLUDE ::1',
    ],
  });
}

/** One browser profile = one set of IndexedDB stores = one user of VS Code. Windows of the same user are pages of the same profile. */
export async function newProfile(browser: Browser): Promise<BrowserContext> {
  const profile = await browser.newContext({ viewport: { width: 1400, height: 900 }, reducedMotion: 'reduce' });
  // Files that only code-server's wrapper serves: answer quietly.
  await profile.route(/\/_static\/|\/update\/check|\/vsda\/|\/mint-key/, (route) => route.fulfill({ status: 204, body: '' }));
  await profile.grantPermissions(['clipboard-read', 'clipboard-write']);
  return profile;
}
