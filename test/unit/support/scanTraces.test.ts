import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../../support/folders.ts';
import { KEPT_FOLDER, SECRETS_FILE } from '../../support/noted.ts';
import { Haystack, scanTraces } from '../../support/scanTraces.ts';
import { madeUpSecret, traces } from '../../support/secrets.ts';

describe('the scan of what a run leaves behind', () => {
  const folder = temporaryFolder();
  after(() => folder.remove());
  const secret = madeUpSecret('scan');

  it('finds a secret in each of its forms, wherever it stands', () => {
    const haystack = new Haystack([secret, madeUpSecret('other')]);
    for (const form of traces(secret))
      for (const text of [form, `x${form}`, `${'\0'.repeat(70_000)}${form}\n`])
        assert.deepEqual([...haystack.secretsIn(Buffer.from(text))], [secret], form);
    for (const offset of [0, 1, 2]) {
      const bytes = Buffer.concat([Buffer.from('header'.slice(0, offset)), Buffer.from(secret), Buffer.from('tail')]);
      assert.deepEqual([...haystack.secretsIn(Buffer.from(bytes.toString('base64')))], [secret]);
    }
    assert.deepEqual([...haystack.secretsIn(Buffer.from(secret.slice(0, -1)))], []);
  });

  it('looks at every file and its name, and tells neither secret', () => {
    const kept = join(folder.path, KEPT_FOLDER, 'one', 'deep');
    mkdirSync(kept, { recursive: true });
    writeFileSync(join(folder.path, SECRETS_FILE), `${JSON.stringify(secret)}\n`);
    writeFileSync(join(kept, 'clean.log'), 'nothing');
    assert.deepEqual(scanTraces(folder.path), { secrets: 1, files: 1, bytes: 7, found: [] });
    writeFileSync(join(kept, 'data.bin'), Buffer.concat([Buffer.from([0, 255]), Buffer.from(secret)]));
    writeFileSync(join(kept, `${secret}.txt`), '');
    const { found } = scanTraces(folder.path);
    assert.equal(found.length, 2);
    assert.ok(found.some((line) => line.includes('data.bin')));
    assert.ok(found.every((line) => line.includes(`begins with “${secret.slice(0, 4)}”`) && !line.includes(secret)));
  });
});
