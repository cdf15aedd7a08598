import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { copyCedar, productBundles } from '../../scripts/build.ts';
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
});
