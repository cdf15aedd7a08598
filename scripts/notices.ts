import fs from 'node:fs';
import path from 'node:path';
import type { Metafile } from 'esbuild';

/** File beside the bundles in which the licenses of what they hold from others stand. */
export const NOTICES = 'NOTICES.txt';

interface Package {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly author?: string | { readonly name?: string };
}

const PACKAGE = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/;
const LICENSE_FILE = /^(licen[cs]e|copying|notice)(\.(md|txt))?$/i;

/**
 * The licenses of all packages of which something stands in `bundles`, each text once with the packages that it covers. @throws for a package
 * that says nothing about its license.
 */
export function noticesOf(bundles: readonly Metafile[], root: string): string {
  const folders = new Set<string>();
  for (const { outputs } of bundles)
    for (const { inputs } of Object.values(outputs))
      for (const file of Object.keys(inputs)) {
        const folder = PACKAGE.exec(file)?.[0];
        if (folder !== undefined) folders.add(folder);
      }
  const covered = new Map<string, string[]>();
  for (const folder of [...folders].sort()) {
    const at = path.join(root, folder);
    const manifest = JSON.parse(fs.readFileSync(path.join(at, 'package.json'), 'utf8')) as Package;
    const { name, version, license, author } = manifest;
    if (license === undefined) throw new Error(`${name} does not say under which license it is.`);
    const texts = fs
      .readdirSync(at)
      .filter((file) => LICENSE_FILE.test(file))
      .map((file) => fs.readFileSync(path.join(at, file), 'utf8').replaceAll('\r\n', '\n').trim());
    const by = typeof author === 'string' ? author : author?.name;
    const text = texts.length > 0 ? texts.join('\n\n') : `License: ${license}${by === undefined ? '' : `, by ${by}`}`;
    covered.set(text, [...(covered.get(text) ?? []), `${name} ${version} (${license})`]);
  }
  const parts = [...covered].map(([text, names]) => `${names.join('\n')}\n\n${text}\n`);
  return ['Culvert holds parts of these packages.\n', ...parts].join(`\n${'-'.repeat(80)}\n\n`);
}
