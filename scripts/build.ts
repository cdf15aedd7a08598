/**
 * Bundles the extension, the bridge, and what the tests run inside VS Code.
 *
 *   npm run build                    dist/ and the test bundles in out/
 *   npm run build -- --production    dist/ only, minified, without source maps
 *   npm run build -- --watch         dist/, again on every change
 */
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build as bundle, context, type BuildOptions } from 'esbuild';
import { packedCedar } from './cedarEngine.ts';
import { splitCommonJs, tighten } from './finish.ts';
import { NOTICES, noticesOf } from './notices.ts';
import { packedTextScan } from './textScan.ts';
import { HTTP_PARSER, LEAN_DEFINES, httpParser, leanPackages } from './leanPackages.ts';

const ROOT = path.resolve(import.meta.dirname, '..');

/** Options of {@link build}. */
export interface BuildChoices {
  /** Minified, without source maps. */
  readonly production?: boolean;
  /** Also the bundles for tests. */
  readonly tests?: boolean;
  /** Also the stand-in for an agent that `npm start` brings along. */
  readonly demo?: boolean;
}

/** The packed engine for Cedar policies, beside the bundle. */
const CEDAR_ENGINE = 'cedar.engine';

/** VS Code 1.138 runs extensions on Node 22; what agents start as the bridge runs on the same executable. */
const common = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node22',
  logLevel: 'warning',
  // Some dependencies prefer to be required; their ES module builds bundle smaller.
  mainFields: ['module', 'main'],
} satisfies BuildOptions;

/** What the extension consists of. */
export function productBundles(production: boolean): BuildOptions[] {
  const product = {
    ...common,
    minify: production,
    sourcemap: !production,
    legalComments: 'none',
    plugins: production ? [tighten()] : [],
    outdir: 'dist',
    outExtension: { '.js': '.cjs' },
  } satisfies BuildOptions;
  return [
    {
      ...product,
      entryPoints: {
        extension: 'src/extension.ts',
        // Threads of the extension: one searches large messages, one reads the configurations of clients.
        inspection: 'src/inspection/searchThread.ts',
        snapshot: 'src/configuration/snapshotJob.ts',
      },
      external: ['vscode'],
      define: {
        ...LEAN_DEFINES,
        CULVERT_CEDAR_ENGINE: JSON.stringify(CEDAR_ENGINE),
        CULVERT_SCAN: JSON.stringify(packedTextScan()),
      },
      plugins: [leanPackages(), splitCommonJs({ production, target: common.target })],
    },
    // It is copied to a place that outlasts this version, so it stands alone.
    { ...product, entryPoints: { bridge: 'src/bridge/main.ts' } },
    {
      ...product,
      // What runs in the side panel: a browser's page without Node.
      entryPoints: [
        { in: 'src/webview/panel/main.ts', out: 'panel' },
        { in: 'src/webview/panel/panel.css', out: 'panel' },
      ],
      platform: 'browser',
      format: 'iife',
      target: 'chrome128',
      outExtension: {},
    },
  ];
}

function testBundles(): BuildOptions[] {
  const test = {
    ...common,
    sourcemap: 'inline',
    external: ['vscode', 'mocha'],
    outExtension: { '.js': '.cjs' },
    define: { 'import.meta.dirname': '__dirname', 'import.meta.url': '__filename' },
  } satisfies BuildOptions;
  const hostTests = fs
    .readdirSync(path.join(ROOT, 'test/host'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => path.posix.join('test/host', file));
  return [
    { ...test, entryPoints: ['test/host/index.ts', ...hostTests], outdir: 'out/host', outbase: 'test/host' },
    { ...test, entryPoints: { suiteWrapper: 'test/harness/suiteWrapper.ts' }, outdir: 'out/host' },
    { ...test, entryPoints: { extension: 'test/harness/companion/extension.ts' }, outdir: 'out/companion' },
  ];
}

/** Writes the bundles. @throws if one of them can't be built. */
export async function build({ production = false, tests = false, demo = false }: BuildChoices = {}): Promise<void> {
  fs.rmSync(path.join(ROOT, 'dist'), { recursive: true, force: true });
  const bundles = await Promise.all(productBundles(production).map((options) => bundle({ ...options, metafile: true })));
  writeEngines(path.join(ROOT, 'dist'));
  if (production) {
    const metafiles = bundles.map(({ metafile }) => metafile);
    fs.writeFileSync(path.join(ROOT, 'dist', NOTICES), noticesOf(metafiles, ROOT));
  }
  if (tests) await buildTests();
  if (demo) await buildDemoAgent();
}

/** Programs in WebAssembly lie beside the bundle, which reads them when they are needed: the engine for Cedar policies, and undici’s parser. */
export function writeEngines(folder: string): void {
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, CEDAR_ENGINE), packedCedar());
  fs.writeFileSync(path.join(folder, HTTP_PARSER), httpParser());
}

async function buildDemoAgent(): Promise<void> {
  await bundle({
    ...common,
    entryPoints: { extension: 'scripts/demo/agent/extension.ts' },
    external: ['vscode'],
    outdir: 'out/demo-agent',
    outExtension: { '.js': '.cjs' },
  });
  fs.cpSync(path.join(ROOT, 'scripts/demo/agent/package.json'), path.join(ROOT, 'out/demo-agent/package.json'));
}

/** Writes the bundles that run inside VS Code in tests. */
export async function buildTests(): Promise<void> {
  for (const folder of ['out/host', 'out/companion']) fs.rmSync(path.join(ROOT, folder), { recursive: true, force: true });
  await Promise.all(testBundles().map((options) => bundle(options)));
  fs.cpSync(path.join(ROOT, 'test/harness/companion/package.json'), path.join(ROOT, 'out/companion/package.json'));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const flags = process.argv.slice(2);
  const production = flags.includes('--production');
  if (flags.includes('--watch')) {
    for (const options of productBundles(production)) await (await context({ ...options, logLevel: 'info' })).watch();
    writeEngines(path.join(ROOT, 'dist'));
  } else {
    await build({ production, tests: !production });
  }
}
