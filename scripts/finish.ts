import fs from 'node:fs';
import path from 'node:path';
import { transform, type OutputFile, type Plugin, type PluginBuild } from 'esbuild';
import { minify } from 'terser';

/** What is done to the files of a bundle after esbuild. */
export interface FinishOptions {
  readonly production: boolean;
  readonly target: string;
}

/**
 * Splits bundles into files that they share, which esbuild only does for ES modules, and makes CommonJS of each: the main file of an
 * extension and the scripts of threads are loaded faster so. What is imported with `import()` is a file of its own, read when it is asked
 * for. Source maps stay inside the files: esbuild’s second pass reads the first one’s from there.
 */
export function splitCommonJs({ production, target }: FinishOptions): Plugin {
  return {
    name: 'split CommonJS',
    setup(build) {
      const sourcemap = production ? false : 'inline';
      Object.assign(build.initialOptions, {
        format: 'esm',
        splitting: true,
        sourcemap,
        outExtension: { '.js': '.cjs' },
        chunkNames: '[name]-[hash]',
      } satisfies typeof build.initialOptions);
      finish(build, async (text, file) => {
        const options = {
          platform: 'node',
          target,
          minify: production,
          sourcemap,
          sourcefile: path.basename(file),
          legalComments: 'none',
        } as const;
        const { code } = await transform(requiring(text), { format: 'cjs', ...options });
        return production ? tightened(code) : code;
      });
    },
  };
}

/** Minifies JavaScript once more: Terser finds another twentieth. */
export function tighten(): Plugin {
  return {
    name: 'tighten',
    setup(build) {
      finish(build, async (text, file) => (/\.c?js$/.test(file) ? tightened(text) : text));
    },
  };
}

function finish(build: PluginBuild, change: (text: string, file: string) => Promise<string>): void {
  const write = build.initialOptions.write !== false;
  build.initialOptions.write = false;
  build.onEnd(async (result) => {
    const files: OutputFile[] = [];
    for (const { path: file, hash, text: before } of result.outputFiles ?? []) {
      const text = await change(before, file);
      files.push({ path: file, hash, contents: Buffer.from(text, 'utf8'), text });
    }
    result.outputFiles = files;
    if (!write) return;
    for (const { path: file, contents } of files) {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, contents);
    }
  });
}

async function tightened(text: string): Promise<string> {
  // What is only within a file, as all of ours that is not exported is, may be renamed and left out.
  const { code } = await minify(text, { ecma: 2020, toplevel: true, compress: { passes: 2 }, format: { comments: false } });
  if (code === undefined) throw new Error('Terser gave nothing back');
  return code;
}

/** Files beside this one are required where they were imported; Node’s own modules stay imports, for texts that are run elsewhere. */
function requiring(text: string): string {
  return text.replace(/\bimport\((["']\.\/[\w.-]+\.cjs["'])\)/g, 'Promise.resolve().then(() => require($1))');
}
