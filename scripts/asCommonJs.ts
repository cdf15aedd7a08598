import fs from 'node:fs';
import path from 'node:path';
import { transform, type OutputFile, type Plugin } from 'esbuild';

/** What the plugin needs to know of the build. */
export interface CommonJsOptions {
  readonly minify: boolean;
  readonly sourcemap: boolean;
  readonly target: string;
}

/**
 * Splits bundles into files that they share, which esbuild only does for ES modules, and makes CommonJS of each: the main file of an
 * extension and the scripts of threads are loaded faster so. What is imported with `import()` is a file of its own and read when it is
 * asked for. Source maps are kept inside the files: their second half is not known before.
 */
export function asCommonJs({ minify, sourcemap, target }: CommonJsOptions): Plugin {
  return {
    name: 'as CommonJS',
    setup(build) {
      const options = build.initialOptions;
      const write = options.write !== false;
      Object.assign(options, {
        write: false,
        format: 'esm',
        splitting: true,
        sourcemap: sourcemap ? 'inline' : false,
        outExtension: { '.js': '.cjs' },
        chunkNames: '[name]-[hash]',
      } satisfies typeof options);
      build.onEnd(async (result) => {
        const files = result.outputFiles ?? [];
        result.outputFiles = await Promise.all(
          files.map(async (file): Promise<OutputFile> => {
            const { code } = await transform(requiring(file.text), {
              format: 'cjs',
              platform: 'node',
              target,
              minify,
              sourcemap: sourcemap ? 'inline' : false,
              sourcefile: path.basename(file.path),
              legalComments: 'none',
            });
            return { path: file.path, hash: file.hash, contents: Buffer.from(code, 'utf8'), text: code };
          }),
        );
        if (!write) return;
        for (const file of result.outputFiles) {
          fs.mkdirSync(path.dirname(file.path), { recursive: true });
          fs.writeFileSync(file.path, file.contents);
        }
      });
    },
  };
}

/** Files beside this one are required where they were imported; Node’s own modules stay imports, for texts that are run elsewhere. */
function requiring(text: string): string {
  return text.replace(/\bimport\((["']\.\/[\w.-]+\.cjs["'])\)/g, 'Promise.resolve().then(() => require($1))');
}
