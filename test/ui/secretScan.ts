/** Looks for a secret where it must not be. */
import fs from 'node:fs';
import path from 'node:path';
import type { Page } from 'playwright-core';

/** Ways in which a secret may be written down. Of base64 the part that is the same whatever stands around it, at each of three offsets. */
function formsOf(secret: string): string[] {
  const base64 = [0, 1, 2].flatMap((offset) => {
    const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret)]);
    const inner = [Math.ceil((offset * 8) / 6), Math.floor((bytes.length * 8) / 6)] as const;
    return [bytes.toString('base64').slice(...inner), bytes.toString('base64url').slice(...inner)];
  });
  const hex = Buffer.from(secret).toString('hex');
  return [...new Set([secret, encodeURIComponent(secret), ...base64, hex, hex.toUpperCase()])];
}

/** Files below a folder whose name or content holds the secret in any form. */
export function filesWith(folder: string, secret: string): string[] {
  const forms = formsOf(secret).map((form) => Buffer.from(form));
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => {
      const bytes = readOrNothing(file);
      return forms.some((form) => bytes.includes(form) || Buffer.from(file).includes(form));
    });
}

/** Processes whose command line holds the secret, and those of them below `folder` whose environment does. */
export function processesWith(folder: string, secret: string): string[] {
  const forms = formsOf(secret);
  const holds = (text: string) => forms.some((form) => text.includes(form));
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const environment = readOrNothing(`/proc/${pid}/environ`).toString();
      return holds(readOrNothing(`/proc/${pid}/cmdline`).toString()) || (environment.includes(folder) && holds(environment));
    });
}

/** Places of a window where the secret is: its document, what is typed in it, and what it stores, VS Code's SecretStorage left out. */
export async function pagePlacesWith(page: Page, secret: string): Promise<string[]> {
  const texts = await page.evaluate<Record<string, string>>(READ_PAGE);
  const forms = formsOf(secret);
  return Object.keys(texts).filter((place) => forms.some((form) => texts[place]?.includes(form)));
}

/** Runs in the page, where other globals exist than the ones this file is checked against: hence as text. */
const READ_PAGE = `(async () => {
  const texts = { document: document.documentElement.outerHTML, localStorage: JSON.stringify(localStorage) };
  [...document.querySelectorAll('input, textarea')].forEach((input, index) => (texts['input ' + index] = input.value));
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const decode = (value) => (value instanceof Uint8Array ? new TextDecoder('latin1').decode(value) : JSON.stringify(value));
  for (const { name } of await indexedDB.databases()) {
    if (name === 'vscode-web-secrets') continue;
    const database = await done(indexedDB.open(name));
    for (const store of database.objectStoreNames) {
      const values = await done(database.transaction(store).objectStore(store).getAll());
      texts[name + '/' + store] = values.map(decode).join('\\n');
    }
    database.close();
  }
  return texts;
})()`;

function readOrNothing(file: string): Buffer {
  try {
    return fs.readFileSync(file);
  } catch {
    // Gone in the meantime, or a process of somebody else.
    return Buffer.alloc(0);
  }
}
