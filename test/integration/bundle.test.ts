import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { build, type BuildOptions, type Metafile } from 'esbuild';
import { productBundles, writeCedar } from '../../scripts/build.ts';
import { SecretSearch } from '../../src/inspection/secretSearch.ts';
import { temporaryFolder } from '../support/folders.ts';

/** What is loaded from beside the bundle must be found from the bundle, and only when it is needed. */
describe('the bundle', function () {
  this.timeout(180_000);

  it('brings the engine for Cedar along and loads it only where there is a policy', async () => {
    const folder = temporaryFolder();
    try {
      await build({ ...product(), entryPoints: { cedar: 'src/authorization/policy/cedar.ts' }, outdir: folder.path });
      writeCedar(folder.path);
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

  it('decides with its packed engine as the tests of policies say', async () => {
    const folder = temporaryFolder();
    try {
      const tests = { cedar: 'test/unit/authorization/policy/cedar.test.ts', prospect: 'test/unit/authorization/prospect.test.ts' };
      await build({ ...product(), entryPoints: tests, outdir: folder.path });
      writeCedar(folder.path);
      const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js');
      const files = Object.keys(tests).map((name) => join(folder.path, `${name}.cjs`));
      const said = execFileSync(process.execPath, [mocha, '--no-config', '--reporter', 'json', '--timeout', '30000', ...files], {
        encoding: 'utf8',
        cwd: folder.path,
      });
      const { stats } = JSON.parse(said) as { readonly stats: { readonly passes: number; readonly failures: number } };
      assert.equal(stats.failures, 0);
      assert.ok(stats.passes > 20, `${stats.passes} tests`);
    } finally {
      folder.remove();
    }
  });

  it('leaves for later what is large and seldom used', async () => {
    const { metafile } = await build({ ...product(), outdir: 'dist', write: false, metafile: true });
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
    const folder = temporaryFolder();
    const { outputFiles = [], metafile } = await build({ ...product(), outdir: folder.path, write: false, metafile: true });
    const rules = '@secretlint/secretlint-rule-preset-recommend';
    const everything = ['import-statement', 'dynamic-import'];
    assert.ok(packagesOf(metafile, reached(metafile, 'inspection.cjs', everything)).has(rules));
    assert.ok(!packagesOf(metafile, reached(metafile, 'inspection.cjs', ['import-statement'])).has(rules));
    for (const other of ['extension.cjs', 'snapshot.cjs'])
      assert.ok(!packagesOf(metafile, reached(metafile, other, everything)).has(rules), other);
    for (const { path, contents } of outputFiles) writeFileSync(path, contents);
    const secrets = new SecretSearch({
      startThread: () => new Worker(join(folder.path, 'inspection.cjs'), { env: {}, execArgv: [] }),
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
      folder.remove();
    }
  });
});

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
