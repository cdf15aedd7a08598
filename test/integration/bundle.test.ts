import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { build } from 'esbuild';
import { copyCedar, productBundles } from '../../scripts/build.ts';
import { SecretSearch } from '../../src/inspection/secretSearch.ts';
import { temporaryFolder } from '../support/folders.ts';

/** What is loaded from beside the bundle must be found from the bundle, and only when it is needed. */
describe('the bundle', function () {
  this.timeout(180_000);

  it('brings the engine for Cedar along and loads it only where there is a policy', async () => {
    const folder = temporaryFolder();
    try {
      const [extension] = productBundles(true);
      await build({
        ...extension,
        entryPoints: { cedar: 'src/authorization/policy/cedar.ts' },
        outdir: folder.path,
      });
      copyCedar(folder.path);
      const script = join(folder.path, 'try.cjs');
      writeFileSync(
        script,
        `const fs = require('fs'); const real = fs.readFileSync; const read = [];
        fs.readFileSync = (path, ...rest) => { read.push(String(path)); return real(path, ...rest); };
        const { loadCedarLayer } = require('./cedar.cjs');
        const early = read.filter((p) => p.endsWith('.wasm')).length;
        const policy = { source: 'p', text: 'permit(principal, action, resource); forbid(principal, action == Action::"rm", resource);', protection: { ok: true } };
        loadCedarLayer(policy).then((layer) => {
          const ask = (tool) => layer.narrow({ principal: { client: 'agent', window: 'w' }, now: 0, task: undefined, tools: {},
            call: { server: 's', serverLabel: 'S', method: 'tools/call', tool } })?.effect;
          console.log(JSON.stringify([early, read.filter((p) => p.endsWith('.wasm')).length, layer.problems, ask('ls'), ask('rm')]));
        });`,
      );
      const said = execFileSync(process.execPath, [script], { encoding: 'utf8', cwd: folder.path });
      assert.deepEqual(JSON.parse(said), [0, 1, [], null, 'deny']);
    } finally {
      folder.remove();
    }
  });

  it('has secretlint’s rules in the thread that searches messages, and nowhere else', async () => {
    const folder = temporaryFolder();
    const texts: Record<string, string> = {};
    for (const options of productBundles(true).slice(0, 3)) {
      const { outputFiles } = await build({ ...options, outdir: folder.path, write: false });
      for (const { path, text } of outputFiles) texts[basename(path)] = text;
    }
    assert.deepEqual(
      Object.entries(texts)
        .filter(([, text]) => text.includes('@secretlint/secretlint-rule-slack'))
        .map(([name]) => name),
      ['inspection.cjs'],
    );
    writeFileSync(join(folder.path, 'inspection.cjs'), texts['inspection.cjs'] ?? '');
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
