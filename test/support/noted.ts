/**
 * What a test run must not leave behind. Secrets that tests make up or type are noted, what Culvert and VS Code wrote is kept when a suite
 * clears up, and at the end of everything the runner looks for the ones in the other (`scanTraces.ts`). Without a run, nothing happens here.
 */
import fs from 'node:fs';
import path from 'node:path';

/** Where a run gathers both; set by `test/run.ts`. */
export const TRACES_VARIABLE = 'CULVERT_TEST_TRACES';
/** One JSON string a line. Many processes append to it. */
export const SECRETS_FILE = 'secrets.jsonl';
/** What is kept, a folder for each time. */
export const KEPT_FOLDER = 'kept';

/** Shorter ones would be found in honest text. */
const MIN_NOTED_CHARACTERS = 8;

const noted = new Set<string>();

/** Notes a secret; returns it. */
export function noteSecret<T extends string | undefined>(value: T): T {
  const folder = process.env[TRACES_VARIABLE];
  if (folder === undefined || value === undefined || value.length < MIN_NOTED_CHARACTERS || noted.has(value)) return value;
  noted.add(value);
  fs.appendFileSync(path.join(folder, SECRETS_FILE), `${JSON.stringify(value)}\n`, { mode: 0o600 });
  return value;
}

/** Notes everything secret in what goes into the system’s keyring: values of credentials, parts of sign-ins, Culvert’s own keys. */
export function noteStored(text: string): void {
  let stored: unknown;
  try {
    stored = JSON.parse(text);
  } catch {
    // The key under which the database is signed.
    if (/^[\w-]{43}$/.test(text)) noteSecret(text);
    return;
  }
  noteParts(stored);
}

/** Names under which secrets stand in what is stored: sealed values, tokens and clients of sign-ins, private halves of JSON Web Keys. */
const SECRET_NAMES = new Set(['value', 'access', 'refresh', 'secret', 'd', 'verifier', 'state']);

function noteParts(stored: unknown): void {
  if (typeof stored !== 'object' || stored === null) return;
  for (const [name, part] of Object.entries(stored)) {
    if (typeof part !== 'string') noteParts(part);
    else if (name === 'value' && part.startsWith('{')) noteStored(part);
    else if (SECRET_NAMES.has(name)) noteSecret(part);
  }
}

/**
 * VS Code’s own copies of the user’s files, below its user data. After **Undo Import** those hold secrets again, as they did before, and so do
 * the copies. The suites of the import look at them too, before they undo.
 */
const COPIES = ['History', 'caches/CachedConfigurations'];

/** Keeps files and folders below `root` under a label, out of the way of whoever removes it next. What is not there is passed over. */
export function keepTraces(label: string, root: string, names: readonly string[]): void {
  const folder = process.env[TRACES_VARIABLE];
  if (folder === undefined) return;
  for (const copies of COPIES) fs.rmSync(path.join(root, 'user/User', copies), { recursive: true, force: true });
  const kept = path.join(folder, KEPT_FOLDER);
  fs.mkdirSync(kept, { recursive: true });
  const target = fs.mkdtempSync(path.join(kept, `${label.replace(/[^\w.-]+/g, '-').slice(0, 80)}-`));
  for (const name of names) {
    const from = path.join(root, name);
    if (fs.existsSync(from)) fs.renameSync(from, path.join(target, name.replaceAll(path.sep, '-')));
  }
}

/** The same for text that is in no file, such as the lines of a log. */
export function keepText(label: string, text: string): void {
  const folder = process.env[TRACES_VARIABLE];
  if (folder === undefined || text === '') return;
  fs.mkdirSync(path.join(folder, KEPT_FOLDER), { recursive: true });
  const target = fs.mkdtempSync(path.join(folder, KEPT_FOLDER, `${label}-`));
  fs.writeFileSync(path.join(target, 'text.log'), text);
}
