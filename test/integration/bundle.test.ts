import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { build, type BuildOptions, type Metafile, type Plugin } from 'esbuild';
import { productBundles, writeEngines } from '../../scripts/build.ts';
import { SecretSearch } from '../../src/inspection/secretSearch.ts';
import { PROJECT_ROOT } from '../harness/paths.ts';
import { temporaryFolder } from '../support/folders.ts';

/** Tests of what uses undici, the MCP client, jose, OpenTelemetry, RE2JS, the parsers of configurations, and Cedar’s engine. */
const LEAN_TESTS = [
  'test/integration/upstream.test.ts',
  'test/integration/exports.test.ts',
  'test/integration/otlp.test.ts',
  'test/integration/oauthClients.test.ts',
  'test/unit/authorization/conditions.test.ts',
  'test/unit/authorization/policy/cedar.test.ts',
  'test/unit/authorization/prospect.test.ts',
  'test/unit/configuration/drift.test.ts',
  'test/unit/configuration/edit.test.ts',
  'test/unit/configuration/import.test.ts',
];

/** What mocha says of a run. */
interface Results {
  readonly stats: { readonly passes: number };
  readonly failures: readonly { readonly fullTitle: string; readonly err: { readonly message: string } }[];
}

/** What is loaded from beside the bundle must be found from the bundle, and only when it is needed. */
describe('the bundle', function () {
  this.timeout(300_000);
  const packaged = temporaryFolder();
  let metafile: Metafile;
  let files: string[];

  before(async () => {
    const built = await build({ ...product(), outdir: packaged.path, write: false, metafile: true });
    ({ metafile } = built);
    files = built.outputFiles.map(({ path }) => basename(path));
    for (const { path, contents } of built.outputFiles) writeFileSync(path, contents);
    writeEngines(packaged.path);
  });

  after(() => packaged.remove());

  it('brings the engine for Cedar along and loads it only where there is a policy', async () => {
    const folder = temporaryFolder();
    try {
      await build({ ...product(), entryPoints: { cedar: 'src/authorization/policy/cedar.ts' }, outdir: folder.path });
      writeEngines(folder.path);
      const script = join(folder.path, 'try.cjs');
      writeFileSync(
        script,
        `const fs = require('node:fs/promises'); const real = fs.readFile; let read = 0;
        fs.readFile = (path, ...rest) => { if (String(path).endsWith('.engine')) read++; return real(path, ...rest); };
        const { loadCedarLayer } = require('./cedar.cjs');
        const early = read;
        const policy = { source: 'p', text: 'permit(principal, action, resource); forbid(principal, action == Action::"rm", resource);', protection: { ok: true } };
        Promise.all([loadCedarLayer(policy), loadCedarLayer(policy)]).then(([layer]) => {
          const ask = (tool) => layer.narrow({ principal: { client: 'agent', window: 'w' }, now: 0, task: undefined, tools: {},
            call: { server: 's', serverLabel: 'S', method: 'tools/call', tool } })?.effect;
          console.log(JSON.stringify([early, read, layer.problems, ask('ls'), ask('rm')]));
        });`,
      );
      const said = execFileSync(process.execPath, [script], { encoding: 'utf8', cwd: folder.path });
      assert.deepEqual(JSON.parse(said), [0, 1, [], null, 'deny']);
    } finally {
      folder.remove();
    }
  });

  it('passes the tests of what uses packages that are bundled in part', async () => {
    const folder = temporaryFolder();
    try {
      const names = LEAN_TESTS.map((file) => file.replaceAll('/', '-').replace(/\.ts$/, ''));
      await build({
        ...product(),
        entryPoints: LEAN_TESTS.map((file, i) => ({ in: file, out: names[i] ?? '' })),
        outdir: folder.path,
        // What plays the other side is not the product.
        external: [
          'vscode',
          'ajv',
          'fast-check',
          'oidc-provider',
          'otlp-decoder',
          '@modelcontextprotocol/server',
          '@modelcontextprotocol/sdk',
        ],
        plugins: [ownPlace, ...(product().plugins ?? [])],
      });
      writeEngines(folder.path);
      symlinkSync(join(PROJECT_ROOT, 'node_modules'), join(folder.path, 'node_modules'), 'junction');
      const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js');
      const results = join(folder.path, 'results.json');
      const options = ['--no-config', '--exit', '--timeout', '60000', '--reporter', 'json', '--reporter-option', `output=${results}`];
      const files = names.map((name) => join(folder.path, `${name}.cjs`));
      await promisify(execFile)(process.execPath, [mocha, ...options, ...files], { cwd: PROJECT_ROOT }).catch(() => undefined);
      const { stats, failures } = JSON.parse(readFileSync(results, 'utf8')) as Results;
      assert.deepEqual(
        failures.map(({ fullTitle, err }) => `${fullTitle}: ${err.message}`),
        [],
      );
      assert.ok(stats.passes > 200, `${stats.passes} tests`);
    } finally {
      folder.remove();
    }
  });

  it('is loaded whole: no file of it needs what was left out', () => {
    // Threads wait for messages at once; what they load is among the others.
    const loaded = files.filter((name) => !['inspection.cjs', 'snapshot.cjs'].includes(name));
    const script = join(packaged.path, 'try.cjs');
    writeFileSync(
      script,
      `const Module = require('node:module'); const load = Module._load;
      const vscode = new Proxy({}, { get: (_, name) => (name === '__esModule' ? undefined : class {}) });
      Module._load = (name, ...rest) => (name === 'vscode' ? vscode : load(name, ...rest));
      for (const file of ${JSON.stringify(loaded)}) require('./' + file);
      console.log('loaded');`,
    );
    assert.equal(execFileSync(process.execPath, [script], { encoding: 'utf8', cwd: packaged.path }), 'loaded\n');
  });

  it('leaves for later what is large and seldom used', () => {
    const atStart = packagesOf(metafile, reached(metafile, 'extension.cjs', ['import-statement']));
    const later = packagesOf(metafile, reached(metafile, 'extension.cjs', ['import-statement', 'dynamic-import']));
    for (const name of [
      'undici',
      're2js',
      '@modelcontextprotocol/client',
      '@cedar-policy/cedar-wasm',
      '@opentelemetry/otlp-exporter-base',
    ]) {
      assert.ok(!atStart.has(name), `${name} is loaded at the start`);
      assert.ok(later.has(name), `${name} is not there`);
    }
  });

  it('has secretlint’s rules in the thread that searches messages, and nowhere else', async () => {
    const rules = '@secretlint/secretlint-rule-preset-recommend';
    const everything = ['import-statement', 'dynamic-import'];
    assert.ok(packagesOf(metafile, reached(metafile, 'inspection.cjs', everything)).has(rules));
    assert.ok(!packagesOf(metafile, reached(metafile, 'inspection.cjs', ['import-statement'])).has(rules));
    for (const other of ['extension.cjs', 'snapshot.cjs'])
      assert.ok(!packagesOf(metafile, reached(metafile, other, everything)).has(rules), other);
    const secrets = new SecretSearch({
      startThread: () => new Worker(join(packaged.path, 'inspection.cjs'), { env: {}, execArgv: [] }),
      onProblem: (problem) => assert.fail(problem),
    });
    try {
      // Made up; of a kind that only secretlint looks for.
      const value = ['glc', 'lvL7z7LvlhjrFZpVxf3XX3fx'.concat('VpZFrjhlvL7z7LvlhjrFZpVxf3XX3fxVpZFr')].join('_');
      const message = () => Buffer.from(JSON.stringify({ result: `a ${value} b` }));
      const ids = async () => (await secrets.large(message(), { hidden: true })).hits.map(({ id }) => id);
      assert.deepEqual(await ids(), []);
      secrets.useSecretlint(true);
      assert.deepEqual(await ids(), ['secretlint-grafana']);
    } finally {
      secrets.dispose();
    }
  });
});

/** Lets files of the project say where they stand, wherever the bundle does. */
const ownPlace: Plugin = {
  name: 'own place',
  setup(build) {
    build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const here = { url: pathToFileURL(path).href, dirname: dirname(path), filename: path };
      const contents = readFileSync(path, 'utf8').replace(/\bimport\.meta\.(url|dirname|filename)\b/g, (_, name: keyof typeof here) =>
        JSON.stringify(here[name]),
      );
      return { contents, loader: 'ts' };
    });
  },
};

/** The extension and its threads, as they are packaged. */
function product(): BuildOptions {
  const [options] = productBundles(true);
  assert.ok(options);
  return options;
}

/** Files that a file of the bundle loads, by ways of these kinds, and itself. */
function reached({ outputs }: Metafile, file: string, kinds: readonly string[]): Set<string> {
  const found = new Set<string>();
  const waiting = Object.keys(outputs).filter((path) => basename(path) === file);
  assert.equal(waiting.length, 1);
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (found.has(path)) continue;
    found.add(path);
    for (const { path: next, kind, external } of outputs[path]?.imports ?? []) if (!external && kinds.includes(kind)) waiting.push(next);
  }
  return found;
}

/** Packages that have a part in these files. */
function packagesOf({ outputs }: Metafile, files: ReadonlySet<string>): Set<string> {
  const inputs = [...files].flatMap((path) => Object.entries(outputs[path]?.inputs ?? {}));
  return new Set(
    inputs.flatMap(([path, { bytesInOutput }]) =>
      bytesInOutput > 0 ? [/node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(path)?.[1] ?? ''] : [],
    ),
  );
}
