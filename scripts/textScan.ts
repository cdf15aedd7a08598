import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateRawSync } from 'node:zlib';

const ROOT = path.resolve(import.meta.dirname, '..');
const SOURCE = path.join(ROOT, 'src/detection/wasm/scan.ts');
/** Where `src/detection/textScan.ts` looks for it as long as nothing is bundled. */
const MODULE = path.join(ROOT, 'out/scan.wasm');
/** Whatever is newer than the module is a reason to make it anew. */
const MADE_FROM = [SOURCE, import.meta.filename, path.join(ROOT, 'package-lock.json')];
/** Memory, in pages of 64 KB: as far as the layout in the source goes. */
const PAGES = '50';

/** The module as the bundle holds it: DEFLATE (RFC 1951) in base64. */
export function packedTextScan(): string {
  return deflateRawSync(compiledTextScan(), { level: 9 }).toString('base64');
}

/** The module of `src/detection/wasm/scan.ts`, compiled if that has not been done yet: that takes some seconds. @throws if it can’t be. */
export function compiledTextScan(): Buffer {
  const made = fs.statSync(MODULE, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (MADE_FROM.every((file) => fs.statSync(file).mtimeMs < made)) return fs.readFileSync(MODULE);
  const compiler = path.join(fileURLToPath(import.meta.resolve('assemblyscript')), '../../bin/asc.js');
  const own = `${MODULE}.${process.pid}`;
  fs.mkdirSync(path.dirname(MODULE), { recursive: true });
  const options = ['-O3', '--converge', '--noAssert', '--runtime', 'stub', '--enable', 'simd', '--use', 'abort='];
  const memory = ['--initialMemory', PAGES, '--maximumMemory', PAGES];
  const files = [path.relative(ROOT, SOURCE), '--outFile', path.relative(ROOT, own)];
  execFileSync(process.execPath, [compiler, ...files, ...options, ...memory], { cwd: ROOT, stdio: 'inherit' });
  fs.renameSync(own, MODULE);
  return fs.readFileSync(MODULE);
}
