import fs from 'node:fs';
import path from 'node:path';
import { downloadAndUnzipVSCode } from '@vscode/test-electron';
import { ensureChromium } from './chromium.ts';
import { ensureVSCodeServer } from './installVSCode.ts';
import { PROJECT_ROOT, VSCODE_CACHE } from './paths.ts';

const RELEASES = 'https://update.code.visualstudio.com/api/releases/stable';
const PROBE_TIMEOUT_MS = 4_000;

/** The VS Code in which host suites run. */
export interface ResolvedVSCode {
  readonly kind: 'given' | 'desktop' | 'server';
  readonly vscodeExecutablePath: string;
}

/**
 * Chooses the VS Code for host suites:
 *
 * 1. the executable in `VSCODE_EXECUTABLE_PATH`;
 * 2. a desktop VS Code by @vscode/test-electron's download, where that is reachable or done already, and there is a display for it (in a
 *    headless Linux: `xvfb-run -a npm test`);
 * 3. the VS Code server build from npm, behind an executable with the same command line. `CULVERT_TEST_VSCODE=server` forces it.
 */
export async function resolveVSCode(): Promise<ResolvedVSCode> {
  const given = process.env['VSCODE_EXECUTABLE_PATH'];
  if (given) return { kind: 'given', vscodeExecutablePath: given };
  if (await canRunDesktop())
    return { kind: 'desktop', vscodeExecutablePath: await downloadAndUnzipVSCode({ version: 'stable', cachePath: VSCODE_CACHE }) };
  ensureChromium();
  ensureVSCodeServer();
  return { kind: 'server', vscodeExecutablePath: path.join(PROJECT_ROOT, 'test/harness/code') };
}

/** Whether {@link resolveVSCode} chooses a desktop VS Code. */
export async function canRunDesktop(): Promise<boolean> {
  if (process.env['CULVERT_TEST_VSCODE'] === 'server') return false;
  const display = process.platform !== 'linux' || Boolean(process.env['DISPLAY'] ?? process.env['WAYLAND_DISPLAY']);
  if (!display) return false;
  const cached =
    fs.existsSync(VSCODE_CACHE) &&
    fs
      .readdirSync(VSCODE_CACHE)
      .some((name) => /^vscode-(linux|darwin|win32)/.test(name) && fs.existsSync(path.join(VSCODE_CACHE, name, 'is-complete')));
  return (
    cached ||
    fetch(RELEASES, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) }).then(
      ({ ok }) => ok,
      () => false,
    )
  );
}
