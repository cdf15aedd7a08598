import { writeFileSync } from 'node:fs';

/**
 * Writes the file by which the extension, in development and test mode only, learns of the demo server: `CULVERT_DEMO` in its environment
 * names the file, and the extension deletes it once the token is sealed.
 */
export function writeDemoFile(file: string, server: { readonly label: string; readonly url: string; readonly token: string }): void {
  const { label, url, token } = server;
  writeFileSync(file, JSON.stringify({ label, url, token }), { mode: 0o600, flag: 'wx' });
}
