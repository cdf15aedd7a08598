import { createRequire } from 'node:module';
import path from 'node:path';
import type { Plugin } from 'esbuild';

/**
 * Modules of packages that the product never comes to, and what for. Whatever takes one nevertheless gets an error that says so. `bundle.test.ts`
 * runs what uses these packages on what is left of them.
 */
const LEFT_OUT: readonly { readonly file: RegExp; readonly what: string; readonly loadedAtOnce?: boolean }[] = [
  // Upstream we speak HTTP/1.1, with bodies that are texts and bytes.
  { file: /[\\/]undici[\\/]lib[\\/]dispatcher[\\/]client-h2\.js$/, what: 'HTTP/2', loadedAtOnce: true },
  { file: /[\\/]undici[\\/]lib[\\/]web[\\/](fetch[\\/](body|formdata)|webidl[\\/]index)\.js$/, what: 'A body that is a form' },
  // Of the two that read HTTP/1.1 the one that runs on every processor; undici takes it when the other can’t be had.
  { file: /[\\/]undici[\\/]lib[\\/]llhttp[\\/]llhttp_simd-wasm\.js$/, what: 'SIMD' },
  // We say ourselves what an export comes from.
  { file: /[\\/]@opentelemetry[\\/]resources[\\/].*[\\/]getMachineId\.mjs$/, what: 'The number of the machine' },
];

/** Of undici what is asked for. Its main file loads all of it, and takes the place of the dispatcher of the whole process. */
const UNDICI = `
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
import request from 'undici/lib/api/api-request.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import EnvHttpProxyAgent from 'undici/lib/dispatcher/env-http-proxy-agent.js';
Object.assign(Dispatcher.prototype, { request });
export { Pool, EnvHttpProxyAgent };
`;

/** What the official MCP client takes from its platform. The trial of a server gives it another validator: no server’s schema is compiled. */
const CLIENT_SHIMS = `
export const CORS_IS_POSSIBLE = false;
export class DefaultJsonSchemaValidator {
  constructor() { throw new Error('JSON schemas of servers are not part of this build.'); }
}
`;

/** Packages of which another text is bundled. */
const REPLACED: Readonly<Record<string, string>> = { undici: UNDICI, '@modelcontextprotocol/client/_shims': CLIENT_SHIMS };

/** The file beside the bundle that reads HTTP/1.1 in undici (WebAssembly). As a text in the bundle it would be a third larger. */
export const HTTP_PARSER = 'llhttp.wasm';
const HTTP_PARSER_LOADER = `
module.exports = require('node:fs').readFileSync(require('node:path').join(__dirname, ${JSON.stringify(HTTP_PARSER)}));
`;

/** Content of {@link HTTP_PARSER}. */
export function httpParser(): Uint8Array {
  return createRequire(import.meta.url)('undici/lib/llhttp/llhttp-wasm.js') as Uint8Array;
}

const YAML = path.dirname(createRequire(import.meta.url).resolve('yaml/package.json'));

/** Constants by which undici leaves out its second parser, as it does within Node. */
export const LEAN_DEFINES = { esbuildDetection: '1', 'process.env.JEST_WORKER_ID': 'undefined' } as const;

/** Bundles of large packages only what the product uses. What a package keeps apart by itself, tree shaking finds. */
export function leanPackages(): Plugin {
  return {
    name: 'lean packages',
    setup(build) {
      build.onResolve({ filter: new RegExp(`^(${Object.keys(REPLACED).join('|')})$`) }, ({ path: name, resolveDir }) => ({
        path: name,
        namespace: 'lean',
        pluginData: resolveDir,
      }));
      // Of its two builds the one in ES modules, of which only what is used is bundled.
      build.onResolve({ filter: /^yaml$/ }, () => ({ path: path.join(YAML, 'browser/dist/index.js') }));
      // The official client imports all of it, in functions that are not ours to call and so are not bundled.
      build.onResolve({ filter: /^jose$/ }, ({ path: name, importer }) =>
        /[\\/]@modelcontextprotocol[\\/]client[\\/]/.test(importer) ? { path: name, external: true } : undefined,
      );
      build.onLoad({ filter: /./, namespace: 'lean' }, ({ path: name, pluginData }) => ({
        contents: REPLACED[name] ?? '',
        resolveDir: String(pluginData),
      }));
      build.onLoad({ filter: /[\\/]undici[\\/]lib[\\/]llhttp[\\/]llhttp-wasm\.js$/ }, () => ({ contents: HTTP_PARSER_LOADER }));
      for (const { file, what, loadedAtOnce = false } of LEFT_OUT) {
        const refusal = `throw new Error(${JSON.stringify(`${what} is not part of this build.`)});`;
        build.onLoad({ filter: file }, () => ({ contents: loadedAtOnce ? `module.exports = function () { ${refusal} };` : refusal }));
      }
    },
  };
}
