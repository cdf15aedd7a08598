import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unpackEngine } from './enginePackage.ts';

/** The engine for Cedar policies. */
export type Cedar = typeof import('./cedarLibrary.ts');

/** Name of the packed engine beside the bundle, put in by the build. Where nothing was built, there is none. */
declare const CULVERT_CEDAR_ENGINE: string;
/** Of the API of WebAssembly, whose types come with those of browsers. */
declare const WebAssembly: { compile(bytes: Uint8Array<ArrayBuffer>): Promise<object> };

let loaded: Promise<Cedar> | undefined;

/** Loads the engine (WebAssembly, 4 MB), once. It is unpacked and compiled aside. @throws if that fails; the next call tries again. */
export function loadCedar(): Promise<Cedar> {
  loaded ??= load().catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function load(): Promise<Cedar> {
  const [cedar, bytes] = await Promise.all([import('./cedarLibrary.ts'), engineBytes()]);
  cedar.initSync({ module: await WebAssembly.compile(bytes) });
  return cedar;
}

async function engineBytes(): Promise<Uint8Array<ArrayBuffer>> {
  if (typeof CULVERT_CEDAR_ENGINE === 'string') return unpackEngine(await readFile(join(__dirname, CULVERT_CEDAR_ENGINE)));
  const library = fileURLToPath(import.meta.resolve('@cedar-policy/cedar-wasm/web'));
  return readFile(join(library, '../cedar_wasm_bg.wasm'));
}
