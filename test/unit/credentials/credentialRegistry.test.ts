import assert from 'node:assert/strict';
import { CredentialRegistry } from '../../../src/credentials/credentialRegistry.ts';
import { MemorySecretStore } from '../../../src/credentials/memorySecretStore.ts';
import { Secret } from '../../../src/credentials/secret.ts';
import { Vault } from '../../../src/credentials/vault.ts';
import { Generations } from '../../../src/store/generations.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';

const A = 'https://a.example';

describe('CredentialRegistry', () => {
  let bench: Bench;
  let clock: ManualClock;
  let store: MemorySecretStore;
  let registry: CredentialRegistry;
  const open = () => new CredentialRegistry(bench.window(), bench.key, new Generations(), new Vault(store), clock);
  const seal = () => registry.seal('token', { kind: 'bearer' }, [A], new Secret(madeUpSecret()));

  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock();
    store = new MemorySecretStore();
    registry = open();
  });
  afterEach(() => bench.close());

  it('keeps everything but the value in the database', async () => {
    const { id } = await seal();
    assert.deepEqual(tracesIn(JSON.stringify(registry.get(id)), madeUpSecret()), []);
    assert.deepEqual(tracesIn(JSON.stringify(bench.outside.prepare('SELECT * FROM signed_row').all()), madeUpSecret()), []);
  });

  it('replaces the value and stays bound to its origins', async () => {
    const { id } = await seal();
    const row = await registry.replace(id, new Secret(madeUpSecret('n')));
    assert.deepEqual([row?.revision, row?.origins], [2, [A]]);
    const opened = await registry.vault.open(id, A);
    assert.ok(opened.ok && opened.secret.expose() === madeUpSecret('n'));
    assert.equal(await registry.replace('cred-none', new Secret('x')), undefined);
  });

  it('forgets value, row and use', async () => {
    const { id } = await seal();
    registry.used(id);
    clock.advance(1000);
    await registry.forget(id);
    assert.deepEqual(
      [registry.get(id), registry.lastUse(id), await registry.vault.open(id, A)],
      [undefined, undefined, { ok: false, reason: 'missing' }],
    );
  });

  it('gathers uses and adds those of other windows', async () => {
    const { id } = await seal();
    const other = open();
    for (let i = 0; i < 3; i++) registry.used(id);
    other.used(id);
    assert.equal(registry.lastUse(id), undefined);
    clock.advance(1000);
    assert.deepEqual(registry.lastUse(id), { at: clock.now(), count: 4 });
  });

  it('does not let an edited row bind the value to another origin', async () => {
    const { id } = await seal();
    await bench.tamper(`UPDATE signed_row SET body = replace(body, '${A}', 'https://evil.example')`);
    assert.equal(registry.get(id), undefined);
    assert.deepEqual(await registry.vault.open(id, 'https://evil.example'), { ok: false, reason: 'other-origin' });
  });
});
