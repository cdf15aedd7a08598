/**
 * The engine for Cedar policies as the package holds it: without the functions that nothing of ours leads to, its instructions in streams
 * (`src/authorization/policy/wasmStreams.ts`), each packed with Brotli. That is two fifths less than the same file in a .vsix.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { ENGINE_HEADER_BYTES } from '../src/authorization/policy/enginePackage.ts';
import { STREAMS, type Stream } from '../src/authorization/policy/wasmStreams.ts';
import { Wasm, functionAt, leb128 } from './wasm.ts';

/** What `cedarLibrary.ts` exports. The engine’s own functions begin with two underscores, and stay. */
const USED = new Set([
  'checkParsePolicySet',
  'policySetTextToParts',
  'policyToJson',
  'preparsePolicySet',
  'statefulIsAuthorized',
  'validate',
]);

const ROOT = path.resolve(import.meta.dirname, '..');
/** Packing takes some ten seconds, so it is done once for each engine and way of packing. */
const CACHE = path.join(ROOT, 'node_modules/.cache/culvert');
const RECIPE = [
  'scripts/cedarEngine.ts',
  'scripts/wasm.ts',
  'src/authorization/policy/wasmStreams.ts',
  'src/authorization/policy/enginePackage.ts',
];

/** The packed engine: the file that lies beside the bundle. @throws if the engine holds what is not known here, such as new instructions. */
export function packedCedar(): Buffer {
  const library = fileURLToPath(import.meta.resolve('@cedar-policy/cedar-wasm/web'));
  const engine = fs.readFileSync(path.join(library, '../cedar_wasm_bg.wasm'));
  const digest = createHash('sha256').update(engine);
  for (const file of RECIPE) digest.update(fs.readFileSync(path.join(ROOT, file)));
  const cached = path.join(CACHE, `cedar-${digest.digest('hex').slice(0, 32)}`);
  if (fs.existsSync(cached)) return fs.readFileSync(cached);
  const packed = pack(withoutUnused(engine));
  fs.rmSync(CACHE, { recursive: true, force: true });
  fs.mkdirSync(CACHE, { recursive: true });
  fs.writeFileSync(`${cached}.${process.pid}`, packed);
  fs.renameSync(`${cached}.${process.pid}`, cached);
  return packed;
}

function pack(module: Buffer): Buffer {
  const wasm = new Wasm(module);
  const { start, end } = wasm.code;
  const streams = new Map<Stream, Uint8Array[]>(STREAMS.map((name) => [name, []]));
  const put = (stream: Stream, from: number, to: number) => streams.get(stream)?.push(module.subarray(from, to));
  put('frame', 0, start);
  put('frame', end, module.length);
  wasm.walk(put);
  const packed = STREAMS.map((name) => {
    const bytes = Buffer.concat(streams.get(name) ?? []);
    return brotliCompressSync(bytes, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
        [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_DEFAULT_WINDOW,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
      },
    });
  });
  const header = Buffer.alloc(ENGINE_HEADER_BYTES);
  createHash('sha256').update(module).digest().copy(header);
  for (const [i, n] of [start, end - start, ...packed.map(({ length }) => length)].entries()) header.writeUInt32LE(n, 32 + i * 4);
  return Buffer.concat([header, ...packed]);
}

/** The same module with the bodies of functions emptied that can’t be reached. If one were called nevertheless, the engine would stop. */
function withoutUnused(module: Buffer): Buffer {
  const wasm = new Wasm(module);
  const bodies: { start: number; end: number; calls: number[] }[] = [];
  wasm.walk(
    (stream, from) => {
      if (stream === 'call') bodies.at(-1)?.calls.push(functionAt(module, from));
    },
    (start, end) => bodies.push({ start, end, calls: [] }),
  );
  const imported = wasm.importedFunctions;
  const reached = new Set<number>();
  const waiting = wasm.roots((name) => USED.has(name) || name.startsWith('__'));
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (reached.has(next)) continue;
    reached.add(next);
    waiting.push(...(bodies[next - imported]?.calls ?? []));
  }
  // Length; no locals; unreachable; end.
  const empty = Buffer.from([3, 0x00, 0x00, 0x0b]);
  const kept = bodies.map(({ start, end }, i) => (reached.has(i + imported) ? module.subarray(start, end) : empty));
  const code = Buffer.concat([leb128(bodies.length), ...kept]);
  const { at, end } = wasm.code;
  return Buffer.concat([module.subarray(0, at + 1), leb128(code.length), code, module.subarray(end)]);
}
