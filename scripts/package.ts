/**
 * Makes the package, `culvert-VERSION.vsix`: builds, lets vsce collect the files, packs them again with Zopfli, which finds shorter DEFLATE
 * than zlib does, and fails if the result is over its budget.
 *
 *   npm run package
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { deflateAsync } from '@gfx/zopfli';
import { build } from './build.ts';
import { readZip, writeZip } from './zip.ts';

/** Largest package, bytes. Who needs more looks first at what `dist` holds (`esbuild --analyze`), then raises it with a reason. */
const BUDGET_BYTES = 1_500_000;

const ROOT = path.resolve(import.meta.dirname, '..');
const { name, version } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { name: string; version: string };
const file = path.join(ROOT, `${name}-${version}.vsix`);

await build({ production: true });
const vsce = createRequire(import.meta.url).resolve('@vscode/vsce/vsce');
const options = ['--no-dependencies', '--allow-missing-repository', '--no-rewrite-relative-links', '--out', file];
execFileSync(process.execPath, [vsce, 'package', ...options], { cwd: ROOT, stdio: 'inherit' });

const collected = readZip(fs.readFileSync(file));
const packed = await writeZip(collected, (content) => deflateAsync(content, { numiterations: 15 }));
const again = readZip(packed);
for (const [i, { name: entry, content }] of collected.entries())
  if (again[i]?.name !== entry || !again[i].content.equals(content)) throw new Error(`${entry} was not packed as it is`);
fs.writeFileSync(file, packed);

console.log(`${path.basename(file)}: ${packed.length.toLocaleString('en')} bytes of ${BUDGET_BYTES.toLocaleString('en')}`);
if (packed.length > BUDGET_BYTES) {
  console.error(`The package is ${(packed.length - BUDGET_BYTES).toLocaleString('en')} bytes over its budget.`);
  process.exitCode = 1;
}
