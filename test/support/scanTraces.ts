import fs from 'node:fs';
import path from 'node:path';
import { KEPT_FOLDER, SECRETS_FILE } from './noted.ts';
import { traces } from './secrets.ts';

/** What a scan came to. */
export interface TraceScan {
  readonly secrets: number;
  readonly files: number;
  readonly bytes: number;
  /** Files with a secret in them, with how it is written there. Never the secret itself. */
  readonly found: readonly string[];
}

/** Bits of the table of beginnings: eight thousand needles leave most of it empty. */
const TABLE_BITS = 20;
/** Bytes of a needle that are looked up at every place. */
const HEAD_BYTES = 4;
/** At most so much of a secret’s beginning is told, characters: enough to find the test that made it up. */
const TOLD_CHARACTERS = 4;
/** Largest file that is read whole, bytes. */
const MAX_FILE_BYTES = 512 * 1024 * 1024;

interface Needle {
  readonly bytes: Buffer;
  readonly secret: string;
}

/** Finds any of many byte strings in one pass: a table of their first four bytes, then a look at those that begin so. */
export class Haystack {
  readonly #table = new Uint8Array(1 << TABLE_BITS);
  readonly #byHead = new Map<number, Needle[]>();

  constructor(secrets: Iterable<string>) {
    for (const secret of secrets)
      for (const form of new Set(traces(secret))) {
        const bytes = Buffer.from(form);
        if (bytes.length < HEAD_BYTES) continue;
        const head = bytes.readInt32BE(0);
        this.#table[slot(head)] = 1;
        const needles = this.#byHead.get(head);
        if (needles) needles.push({ bytes, secret });
        else this.#byHead.set(head, [{ bytes, secret }]);
      }
  }

  /** The secrets that stand in `bytes` in any form. */
  secretsIn(bytes: Buffer): Set<string> {
    const found = new Set<string>();
    let head = 0;
    for (let at = 0; at < bytes.length; at++) {
      head = (head << 8) | (bytes[at] as number);
      if (this.#table[slot(head)] === 0) continue;
      const from = at - HEAD_BYTES + 1;
      for (const needle of this.#byHead.get(head) ?? [])
        if (from >= 0 && bytes.subarray(from, from + needle.bytes.length).equals(needle.bytes)) found.add(needle.secret);
    }
    return found;
  }
}

/** A multiplicative hash (Knuth, The Art of Computer Programming, 6.4). */
function slot(head: number): number {
  return Math.imul(head, 0x9e3779b1) >>> (32 - TABLE_BITS);
}

/** Looks for every secret that a run noted in everything that it kept: content and names of files. */
export function scanTraces(folder: string): TraceScan {
  const list = path.join(folder, SECRETS_FILE);
  const lines = fs.existsSync(list) ? fs.readFileSync(list, 'utf8').split('\n').filter(Boolean) : [];
  const secrets = new Set(lines.map((line) => JSON.parse(line) as string));
  const haystack = new Haystack(secrets);
  const found: string[] = [];
  let [files, bytes] = [0, 0];
  const kept = path.join(folder, KEPT_FOLDER);
  for (const file of filesBelow(kept)) {
    const name = path.relative(kept, file);
    const { size } = fs.statSync(file);
    if (size > MAX_FILE_BYTES) {
      found.push(`${name} is too large to be looked at`);
      continue;
    }
    files++;
    bytes += size;
    for (const secret of haystack.secretsIn(Buffer.concat([Buffer.from(`${name}\n`), fs.readFileSync(file)])))
      found.push(
        `${name.replaceAll(secret, '…')} holds the secret that begins with “${secret.slice(0, TOLD_CHARACTERS)}” and has ${secret.length} characters`,
      );
  }
  return { secrets: secrets.size, files, bytes, found };
}

function filesBelow(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}
