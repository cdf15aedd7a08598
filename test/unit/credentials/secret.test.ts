import assert from 'node:assert/strict';
import { format, inspect } from 'node:util';
import { Secret } from '../../../src/credentials/secret.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';

describe('Secret', () => {
  const value = madeUpSecret();
  const secret = new Secret(value);

  it('gives the value only when asked for it', () => assert.equal(secret.expose(), value));

  for (const [where, print] of Object.entries<() => string>({
    toString: () => secret.toString(),
    String: () => String(secret),
    template: () => `${secret as unknown as number}`,
    concatenation: () => 'a' + (secret as unknown as string),
    'JSON.stringify': () => JSON.stringify({ a: [secret] }),
    inspect: () => inspect({ a: [secret] }, { depth: 9 }),
    'inspect with hidden fields': () => inspect(secret, { showHidden: true }),
    'inspect without custom forms': () => inspect(secret, { showHidden: true, customInspect: false }),
    'format %s': () => format('%s', secret),
    'format %o': () => format('%o %j', secret, secret),
    'keys and values': () => JSON.stringify([Object.keys(secret), Object.values(secret), Object.entries(Object.assign({}, secret))]),
    'structured clone': () => inspect(structuredClone(secret), { showHidden: true }),
    'an error': () => inspect(new Error(`no ${String(secret)}`, { cause: secret })),
    'property names': () => Reflect.ownKeys(secret).map(String).join(),
  }))
    it(`does not print it through ${where}`, () => assert.deepEqual(tracesIn(print(), value), []));

  it('says [redacted]', () => {
    assert.equal(`${secret as unknown as number}`, '[redacted]');
    assert.equal(JSON.stringify(secret), '"[redacted]"');
    assert.equal(inspect(secret), '[redacted]');
  });
});
