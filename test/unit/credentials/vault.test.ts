import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { MemorySecretStore } from '../../../src/credentials/memorySecretStore.ts';
import { Secret } from '../../../src/credentials/secret.ts';
import { Vault } from '../../../src/credentials/vault.ts';
import { VaultError } from '../../../src/common/errors.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';

const A = 'https://a.example';
const value = madeUpSecret();

/** A secret store that can be made to fail in the ways keyrings do. */
class MoodyStore extends MemorySecretStore {
  mood: 'good' | 'locked' | 'forgetful' = 'good';

  override async get(key: string): Promise<string | undefined> {
    if (this.mood === 'locked') throw new Error('locked');
    return this.mood === 'forgetful' ? undefined : super.get(key);
  }

  override async store(key: string, text: string): Promise<void> {
    if (this.mood === 'locked') throw new Error('locked');
    return super.store(key, text);
  }
}

describe('Vault', () => {
  let store: MoodyStore;
  let vault: Vault;
  beforeEach(async () => {
    store = new MoodyStore();
    vault = new Vault(store);
    await vault.seal('cred-1', new Secret(value), [A], 1);
  });

  it('opens for the origin it was sealed for', async () => {
    const opened = await vault.open('cred-1', A);
    assert.ok(opened.ok && opened.secret.expose() === value && opened.revision === 1);
  });

  for (const origin of [
    'https://b.example',
    'http://a.example',
    'https://a.example:8443',
    'https://a.example/',
    'https://A.example',
    'https://a.example.b.example',
    '',
    'null',
  ])
    it(`does not open for ${JSON.stringify(origin)}`, async () =>
      assert.deepEqual(await vault.open('cred-1', origin), { ok: false, reason: 'other-origin' }));

  it('has nothing for an unknown or forgotten credential', async () => {
    assert.deepEqual(await vault.open('cred-2', A), { ok: false, reason: 'missing' });
    await vault.forget('cred-1');
    assert.deepEqual(await vault.open('cred-1', A), { ok: false, reason: 'missing' });
    assert.equal(await vault.openForDetection('cred-1'), undefined);
  });

  it('gives the new value at once, also where another window replaced it', async () => {
    const other = new Vault(store);
    assert.ok((await other.open('cred-1', A)).ok);
    const changed: string[] = [];
    other.onDidChange((id) => changed.push(id));
    await vault.seal('cred-1', new Secret(madeUpSecret('n')), [A], 2);
    for (const v of [vault, other]) {
      const opened = await v.open('cred-1', A);
      assert.ok(opened.ok && opened.secret.expose() === madeUpSecret('n') && opened.revision === 2);
    }
    assert.deepEqual(changed, ['cred-1']);
  });

  it('says when the keyring is locked or forgets, without the value, and comes back', async () => {
    for (const mood of ['locked', 'forgetful'] as const) {
      store.mood = mood;
      await assert.rejects(
        vault.seal('cred-3', new Secret(value), [A], 1),
        (e: unknown) => e instanceof VaultError && tracesIn(inspect(e, { depth: 9 }), value).length === 0,
      );
    }
    const fresh = new Vault(store);
    store.mood = 'locked';
    assert.deepEqual(await fresh.open('cred-1', A), { ok: false, reason: 'unreadable' });
    store.mood = 'good';
    assert.ok((await fresh.open('cred-1', A)).ok);
  });

  it('does not open what is no sealed value', async () => {
    for (const text of [
      'nonsense',
      '{}',
      JSON.stringify({ version: 2, value, origins: [A], revision: 1 }),
      JSON.stringify({ version: 1, value, origins: '*', revision: 1 }),
    ]) {
      await store.store('culvert.credential.cred-9', text);
      assert.deepEqual(await vault.open('cred-9', A), { ok: false, reason: 'unreadable' });
    }
  });

  it('prints nothing', async () => {
    const opened = await vault.open('cred-1', A);
    assert.deepEqual(tracesIn(`${inspect(opened, { depth: 9, showHidden: true })}${JSON.stringify(opened)}`, value), []);
  });
});
