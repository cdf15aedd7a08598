import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import type { Credential } from '../../../src/credentials/credential.ts';
import { Secret } from '../../../src/credentials/secret.ts';
import { CredentialError, type CredentialSource, type Resolved, type SourceAsk } from '../../../src/credentials/source.ts';
import { FAILURE_REST_MS, Sources, revisionOf, type SourceFailure } from '../../../src/credentials/sources.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';

const A = 'https://a.example';
const URL_A = new URL(`${A}/mcp`);

const row = (changes: Partial<Credential> = {}): Credential => ({
  version: 1,
  id: 'cred-1',
  name: 'token',
  placement: { kind: 'bearer' },
  source: { kind: 'environment', variable: 'TOKEN' },
  origins: [A],
  revision: 1,
  createdAt: 0,
  ...changes,
});

/** A source whose answers a test gives. */
class Asked implements CredentialSource {
  readonly kind = 'environment';
  readonly asks: SourceAsk[] = [];
  answer: (ask: SourceAsk) => Promise<Resolved> = async () => this.value('a');
  lastsMs: number | undefined;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  value(tag: string): Resolved {
    const value = madeUpSecret(tag);
    return {
      secret: new Secret(value),
      revision: revisionOf(value),
      ...(this.lastsMs === undefined ? {} : { expiresAt: this.#clock.now() + this.lastsMs }),
    };
  }

  resolve(ask: SourceAsk): Promise<Resolved> {
    this.asks.push(ask);
    return this.answer(ask);
  }
}

describe('Sources', () => {
  let clock: ManualClock;
  let source: Asked;
  let sources: Sources;
  let recognised: string[];
  let failures: SourceFailure[];
  const resolve = async (credential = row()) => (await sources.resolve(credential, A, URL_A)).secret.expose();

  beforeEach(() => {
    clock = new ManualClock();
    source = new Asked(clock);
    recognised = [];
    failures = [];
    sources = new Sources(clock, (_id, _revision, secret) => void recognised.push(secret.expose()));
    sources.register(source);
    sources.onDidFail((failure) => void failures.push(failure));
  });
  afterEach(() => sources.dispose());

  it('asks once however many calls wait, and makes the value known before anybody has it', async () => {
    const gate = Promise.withResolvers<undefined>();
    source.answer = async () => {
      await gate.promise;
      return source.value('a');
    };
    const waiting = Array.from({ length: 20 }, () => resolve());
    gate.resolve(undefined);
    assert.deepEqual(new Set(await Promise.all(waiting)), new Set([madeUpSecret('a')]));
    assert.equal(source.asks.length, 1);
    assert.deepEqual(recognised, [madeUpSecret('a')]);
  });

  it('gives what it has without a promise, until it expires', async () => {
    source.lastsMs = 10_000;
    await resolve();
    assert.ok(!(sources.resolve(row(), A, URL_A) instanceof Promise));
    clock.advance(9_999);
    assert.ok(!(sources.resolve(row(), A, URL_A) instanceof Promise));
    clock.advance(1);
    source.answer = async () => source.value('b');
    assert.equal(await resolve(), madeUpSecret('b'));
    assert.equal(source.asks.length, 2);
  });

  it('renews a lasting value while the old one is still used', async () => {
    source.lastsMs = 100_000;
    await resolve();
    source.answer = async () => source.value('b');
    clock.advance(95_000);
    assert.equal(await resolve(), madeUpSecret('a'));
    await Promise.resolve();
    await new Promise((done) => setImmediate(done));
    assert.equal(await resolve(), madeUpSecret('b'));
    assert.equal(source.asks.length, 2);
  });

  it('asks again for another revision of the credential, and after a drop', async () => {
    await resolve();
    await resolve(row({ revision: 2 }));
    sources.drop('cred-1');
    await resolve(row({ revision: 2 }));
    assert.equal(source.asks.length, 3);
  });

  it('gives nothing for another origin, whatever the source says', async () => {
    assert.throws(() => sources.resolve(row(), 'https://b.example', URL_A), CredentialError);
    await resolve();
    assert.throws(() => sources.resolve(row({ origins: ['https://b.example'] }), A, URL_A), CredentialError);
    assert.equal(source.asks.length, 1);
  });

  it('asks anew for a refused value, once for all whose calls were refused with it', async () => {
    const first = await sources.resolve(row(), A, URL_A);
    source.answer = async () => source.value('b');
    const refused = { status: 401, wwwAuthenticate: 'Bearer error="invalid_token"', revision: first.revision } as const;
    const others = await Promise.all(Array.from({ length: 20 }, () => sources.afterRefusal(row(), A, URL_A, refused)));
    assert.deepEqual(new Set(others.map((o) => o?.secret.expose())), new Set([madeUpSecret('b')]));
    assert.equal(source.asks.length, 2);
    assert.deepEqual(source.asks[1]?.refused, refused);
    assert.equal((await sources.afterRefusal(row(), A, URL_A, refused))?.secret.expose(), madeUpSecret('b'));
    assert.equal(source.asks.length, 2, 'another call had it renewed already');
  });

  it('says when there is no other value for a refused one', async () => {
    const first = await sources.resolve(row(), A, URL_A);
    const refused = { status: 401, wwwAuthenticate: undefined, revision: first.revision } as const;
    assert.equal(await sources.afterRefusal(row(), A, URL_A, refused), undefined);
  });

  it('tells a failure once, leaves the source alone for a moment, and works again', async () => {
    source.answer = () => Promise.reject(new CredentialError('CULVERT_CREDENTIAL_TEST', 'command', 'It failed.'));
    for (let i = 0; i < 3; i++) await assert.rejects(async () => resolve(), /It failed/);
    assert.deepEqual([source.asks.length, failures.length], [1, 1]);
    assert.deepEqual(sources.health('cred-1'), { state: 'failed', step: 'command', detail: 'It failed.', at: clock.now() });
    clock.advance(FAILURE_REST_MS);
    await assert.rejects(async () => resolve(), /It failed/);
    assert.deepEqual([source.asks.length, failures.length], [2, 1]);
    clock.advance(FAILURE_REST_MS);
    source.answer = async () => source.value('a');
    await resolve();
    assert.equal(sources.health('cred-1'), undefined);
  });

  it('repeats nothing of what a source threw', async () => {
    const value = madeUpSecret('x');
    source.answer = () => Promise.reject(new Error(`no good: ${value}`));
    await assert.rejects(
      async () => resolve(),
      (error: unknown) => error instanceof CredentialError && tracesIn(inspect(error, { depth: 9 }), value).length === 0,
    );
  });

  for (const value of ['xq7z', ` ${madeUpSecret()}`, `${madeUpSecret()}\r\nx-other: 1`, `Bearer ${madeUpSecret()}`, ''])
    it(`refuses a value that can’t stand in its place: ${JSON.stringify(value.slice(0, 8))}…`, async () => {
      source.answer = async () => ({ secret: new Secret(value), revision: 1 });
      await assert.rejects(
        async () => resolve(),
        (error: unknown) => error instanceof CredentialError && error.step === 'value' && (value === '' || !error.message.includes(value)),
      );
      assert.deepEqual(recognised, []);
    });

  it('lets a caller go that gives up, and goes on for the others', async () => {
    const gate = Promise.withResolvers<Resolved>();
    source.answer = () => gate.promise;
    const stop = new AbortController();
    const left = sources.resolve(row(), A, URL_A, stop.signal);
    const stays = resolve();
    stop.abort();
    await assert.rejects(async () => left, CredentialError);
    gate.resolve(source.value('a'));
    assert.equal(await stays, madeUpSecret('a'));
  });

  it('gives up on a source that says nothing', async () => {
    source.answer = () => new Promise(() => undefined);
    const waiting = resolve();
    clock.advance(60_000);
    await assert.rejects(waiting, /gave nothing within 60 seconds/);
  });

  it('has nothing for a kind that is not known here', () => {
    const bare = new Sources(clock, () => undefined);
    return assert.rejects(async () => bare.resolve(row(), A, URL_A), /can’t reach/);
  });
});
