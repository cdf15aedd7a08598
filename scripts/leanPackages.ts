import type { Plugin } from 'esbuild';

/**
 * Modules of packages that the product never comes to, and what for. Whatever takes one nevertheless gets an error that says so;
 * the tests in VS Code and with real servers run on what is left.
 */
const LEFT_OUT: readonly (readonly [file: RegExp, what: string])[] = [
  // Upstream we speak HTTP/1.1, with bodies that are texts and bytes.
  [/[\\/]undici[\\/]lib[\\/]dispatcher[\\/]client-h2\.js$/, 'HTTP/2'],
  [/[\\/]undici[\\/]lib[\\/]web[\\/](fetch[\\/](body|formdata)|webidl[\\/]index)\.js$/, 'A body that is a form'],
  // We say ourselves what an export comes from.
  [/[\\/]@opentelemetry[\\/]resources[\\/].*[\\/]getMachineId\.mjs$/, 'The number of the machine'],
  // Of the two that read HTTP/1.1 the one that runs on every processor; undici takes it when the other can’t be had.
  [/[\\/]undici[\\/]lib[\\/]llhttp[\\/]llhttp_simd-wasm\.js$/, 'SIMD'],
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

/** Constants by which undici leaves out its second parser, as it does within Node. */
export const LEAN_DEFINES = { esbuildDetection: '1', 'process.env.JEST_WORKER_ID': 'undefined' } as const;

/** Bundles of large packages only what the product uses. What a package keeps apart by itself, tree shaking finds. */
export function leanPackages(): Plugin {
  return {
    name: 'lean packages',
    setup(build) {
      build.onResolve({ filter: new RegExp(`^(${Object.keys(REPLACED).join('|')})$`) }, ({ path, resolveDir }) => ({
        path,
        namespace: 'lean',
        pluginData: resolveDir,
      }));
      // The official client imports all of it, in functions that are not ours to call and so are not bundled.
      build.onResolve({ filter: /^jose$/ }, ({ path, importer }) =>
        /[\\/]@modelcontextprotocol[\\/]client[\\/]/.test(importer) ? { path, external: true } : undefined,
      );
      build.onLoad({ filter: /./, namespace: 'lean' }, ({ path, pluginData }) => ({
        contents: REPLACED[path] ?? '',
        resolveDir: String(pluginData),
      }));
      for (const [file, what] of LEFT_OUT)
        build.onLoad({ filter: file }, () => ({ contents: `throw new Error(${JSON.stringify(`${what} is not part of this build.`)});` }));
    },
  };
}
