import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Inspector, redactionMark } from '../../../src/inspection/inspector.ts';
import { SecretSearch } from '../../../src/inspection/secretSearch.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';

const NAME = 'Demo "token"';
const mark = redactionMark(NAME);

function inspectorFor(...values: string[]): Inspector {
  const secrets = new SecretSearch({ onProblem: (problem) => assert.fail(problem) });
  values.forEach((value, i) => secrets.learn(`cred-${i}@1`, value));
  return new Inspector({ secrets, nameOf: () => NAME });
}

/** Inspects a message given as text. */
function inspect(text: string, ...values: string[]): { readonly text: string; readonly findings: number; readonly blocked: boolean } {
  const { bytes, findings, blocked } = inspectorFor(...values).message(Buffer.from(text, 'utf8'));
  return { text: bytes.toString('utf8'), findings: findings.length, blocked: blocked ?? false };
}

const secret = madeUpSecret();
const b64 = (before: string, value = secret) => Buffer.from(`${before}${value}!`).toString('base64');

describe('Inspector.message', () => {
  const forms: readonly (readonly [string, string])[] = [
    ['as is', secret],
    ['base64, first alignment', b64('')],
    ['base64, second alignment', b64('x')],
    ['base64, third alignment', b64('xy')],
    ['base64url', Buffer.from(`??>${secret}`).toString('base64url')],
    ['hex', Buffer.from(secret).toString('hex')],
    ['upper-case hex', Buffer.from(secret).toString('hex').toUpperCase()],
    ['percent-encoded', Array.from(Buffer.from(secret), (b) => `%${b.toString(16)}`).join('')],
    ['a basic header', `Basic ${Buffer.from(`user:${secret}`).toString('base64')}`],
    ['within JSON within text', JSON.stringify({ deep: JSON.stringify({ token: secret }) })],
  ];
  const places: readonly (readonly [string, (value: string) => string])[] = [
    [
      'a text of the content',
      (v) => `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":${JSON.stringify(`a ${v} b`)}}]}}`,
    ],
    ['structuredContent', (v) => `{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"a":[{"b":${JSON.stringify(v)}}]}}}`],
    ['a key', (v) => `{"jsonrpc":"2.0","id":1,"result":{${JSON.stringify(v)}:1,"z":[]}}`],
    ['error.data', (v) => `{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":{"why":${JSON.stringify(v)}}}}`],
    ['a notification', (v) => `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":${JSON.stringify(v)}}}`],
    ['a string with other escapes', (v) => `{"a":"\\n\\u00e4\\"${JSON.stringify(v).slice(1, -1)}\\t"}`],
  ];
  for (const [form, value] of forms)
    for (const [place, message] of places)
      it(`takes out ${form} in ${place}`, () => {
        const out = inspect(message(value), secret);
        assert.ok(out.findings >= 1);
        assert.deepEqual(tracesIn(out.text, secret), []);
        assert.ok(JSON.stringify(JSON.parse(out.text)).includes(JSON.stringify(mark).slice(1, -1)));
      });

  it('sees through escapes of the whole value', () => {
    const escaped = Array.from(secret, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
    const out = inspect(`{"${escaped}":"x ${escaped} y"}`, secret);
    assert.deepEqual(JSON.parse(out.text), { [mark]: `x ${mark} y` });
  });

  it('replaces a number that is a secret', () => {
    const out = inspect('{"pin":[1,9182736455,-9182736455.0],"n":1.0}', '9182736455');
    assert.deepEqual(JSON.parse(out.text), { pin: [1, mark, mark], n: 1 });
  });

  it('leaves text without a secret as it is: the same buffer', () => {
    const bytes = Buffer.from('{ "n":12345678901234567890, "f":1.0 ,"s":"\\u0041\\/ \\ud83d\\ude00", "t":"a\\\\b" }');
    assert.equal(inspectorFor(secret).message(bytes).bytes, bytes);
  });

  it('leaves every byte beside the secret as it was', () => {
    const [head, tail] = ['{ "n":12345678901234567890,"f":1.0,"e":"\\u0041\\/" , "s":"x', 'y" ,"l":[1e3 ,true]}\n'];
    const out = inspect(`${head}${secret}${tail}`, secret);
    assert.equal(out.text, `${head}${JSON.stringify(mark).slice(1, -1)}${tail}`);
  });

  it('does not mistake an escape and the letters behind it for the secret', () => {
    const value = ['n', 'ight-', 'key-77'].join('');
    const text = '{"a":"x\\night-key-77","b":"\\tight"}';
    assert.deepEqual(inspect(text, value), { text, findings: 0, blocked: false });
    assert.deepEqual(JSON.parse(inspect(`{"a":"\\\\${value}"}`, value).text), { a: `\\${mark}` });
  });

  it('takes out secrets that hold quotes, backslashes, line ends and other scripts', () => {
    for (const value of ['pa"ss\\wo"rd-9', 'größe-geheim-€😀', '\\\\\\\\\\\\\\\\', '"","":""""', 'tab\tand\nline-end'])
      for (const message of [{ a: `x${value}y` }, { [value]: 1 }, { text: JSON.stringify({ deep: value }) }, [`${value}${value}`]]) {
        const out = inspect(JSON.stringify(message), value);
        const again: unknown = JSON.parse(out.text);
        assert.ok(out.findings > 0, JSON.stringify(message));
        assert.ok(!JSON.stringify(again).includes(JSON.stringify(value).slice(1, -1)), out.text);
      }
  });

  it('takes out of every string the part of a secret that lies across several, and keeps the message valid', () => {
    const across = inspect('{"k":"abc","d":"e"}', '":"abc","d":"');
    assert.deepEqual(JSON.parse(across.text), { k: mark, [mark]: 'e' });
    const list = inspect(JSON.stringify({ list: [`x${secret.slice(0, 9)}`, secret.slice(9, 15), `${secret.slice(15)} y`] }), secret);
    assert.deepEqual(JSON.parse(list.text), { list: [`x${mark}`, mark, `${mark} y`] });
  });

  it('treats what is no JSON as text, and skips a byte order mark', () => {
    assert.equal(inspect(`<p>${secret}</p>`, secret).text, `<p>${mark}</p>`);
    assert.equal(inspect(`{"cut":"${secret}`, secret).findings, 1);
    const escaped = secret.replace('t', '\\u0074');
    assert.ok(inspect(`\ufeff{"a":"${escaped}"}`, secret).text.includes('redacted'));
  });

  it('lets nothing pass that is nested too deep to be looked at', () => {
    const deep = (n: number) => `${'['.repeat(n)}"\\u0074${secret.slice(1)}"${']'.repeat(n)}`;
    assert.equal(inspect(deep(400), secret).findings, 1);
    const out = inspect(deep(5000), secret);
    assert.deepEqual([out.blocked, out.text.includes(secret.slice(1))], [true, false]);
  });

  it('keeps any message valid, without the secret, and equal in every other part', () => {
    const strings = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom(secret, `a${secret}`, `\n${secret}"`, b64('x'), 'n', '\t'));
    const value = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        strings,
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(strings, tie('value'), { maxKeys: 4, noNullPrototype: true }),
      ),
    })).value;
    const known = inspectorFor(secret);
    const clean = (v: unknown): unknown => {
      if (typeof v === 'string') return known.text(Buffer.from(v, 'utf8')).bytes.toString('utf8');
      if (Array.isArray(v)) return v.map(clean);
      if (typeof v === 'object' && v !== null) return Object.fromEntries(Object.entries(v).map(([k, x]) => [clean(k), clean(x)]));
      return v;
    };
    fc.assert(
      fc.property(value, fc.constantFrom(undefined, 1), fc.boolean(), (v, space, ascii) => {
        let text = JSON.stringify(v, undefined, space);
        if (ascii) text = text.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
        const out = known.message(Buffer.from(text, 'utf8'));
        const parsed: unknown = JSON.parse(out.bytes.toString('utf8'));
        assert.deepEqual(parsed, clean(JSON.parse(text)));
        assert.deepEqual(tracesIn(out.bytes, secret), []);
        if (out.findings.length === 0) assert.equal(out.bytes.toString('utf8'), text);
      }),
      { seed: 6, numRuns: 500 },
    );
  });

  it('survives any bytes', () => {
    const known = inspectorFor(secret);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), fc.uint8Array({ maxLength: 50 }), (a, b) => {
        const out = known.message(Buffer.concat([Buffer.from(a), Buffer.from(secret), Buffer.from(b)]));
        assert.ok(!out.bytes.includes(secret));
      }),
      { seed: 7, numRuns: 500 },
    );
  });

  it('names the credential in findings, never the value', () => {
    const { findings } = inspectorFor(secret).message(Buffer.from(JSON.stringify([secret, b64('')])));
    assert.deepEqual(
      findings.map((f) => [f.rule, f.subject, f.direction, f.form, f.action]),
      [
        ['known-secret', NAME, 'to-agent', 'as is', 'redacted'],
        ['known-secret', NAME, 'to-agent', 'base64', 'redacted'],
      ],
    );
    assert.deepEqual(tracesIn(JSON.stringify(findings), secret), []);
  });
});

describe('Inspector.headers', () => {
  it('forgets that headers held nothing as soon as a secret is learned', async () => {
    const secrets = new SecretSearch({ onProblem: (problem) => assert.fail(problem) });
    await secrets.ready();
    const inspector = new Inspector({ secrets, nameOf: () => NAME });
    const message = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"ping"}');
    for (let i = 0; i < 2; i++) {
      assert.deepEqual(inspector.headers({ 'x-a': secret }).findings, []);
      assert.equal(inspector.isClean(message, `${secret}\n`), true);
    }
    secrets.learn('cred@1', secret);
    assert.equal(inspector.headers({ 'x-a': secret }).findings.length, 1);
    assert.equal(inspector.isClean(message, `${secret}\n`), false);
    secrets.forget('cred@1');
    assert.equal(inspector.isClean(message, `${secret}\n`), true);
  });

  it('sees every change of headers that held nothing a moment ago', () => {
    const inspector = inspectorFor(secret);
    const clean = { 'x-a': 'one', 'x-b': 'two' };
    for (const changed of [
      { ...clean, 'x-a': secret },
      { ...clean, 'x-b': secret },
      { ...clean, 'x-c': secret },
      { 'x-a': 'one', [secret]: 'two' },
      { ...clean, 'x-b': ['two', secret] },
      { 'x-b': secret },
    ]) {
      for (let i = 0; i < 2; i++) assert.deepEqual(inspector.headers(clean).findings, []);
      assert.equal(inspector.headers(changed).findings.length, 1);
    }
    assert.deepEqual(inspector.headers({ 'x-a': 'one' }).findings, []);
    assert.deepEqual(inspector.headers({}).findings, []);
  });

  it('takes out values that hold the secret, of lists too', () => {
    const { headers, findings } = inspectorFor(secret).headers({ 'x-a': `v ${secret}`, 'x-b': ['ok', b64('')], 'x-c': 'ok' });
    assert.deepEqual(headers, { 'x-a': '[culvert: redacted]', 'x-b': ['ok', '[culvert: redacted]'], 'x-c': 'ok' });
    assert.equal(findings.length, 2);
  });
});

describe('Inspector.outgoing', () => {
  const foreign = (id: string) => id === 'cred-1@1';
  const [own, other] = [madeUpSecret('own'), madeUpSecret('other')];
  const look = (text: string, beside = '') => inspectorFor(own, other).outgoing(Buffer.from(text), beside, foreign).foreign;

  it('finds a foreign secret in the body, in escapes, and beside it', () => {
    assert.equal(look(`{"a":"${other}"}`).length, 1);
    // Found in the bytes as they are and in the string that they stand for: one secret, under both names.
    assert.equal(new Set(look(`{"a":"${other.replace('t', '\\u0074')}"}`).map((f) => f.subject)).size, 1);
    assert.equal(look('{}', `x ${other}`).length, 1);
    assert.deepEqual(
      look(`{"a":"${other}"}`).map((f) => [f.direction, f.action]),
      [['to-server', 'blocked']],
    );
  });

  it('does not mind the server’s own', () => assert.deepEqual(look(`{"a":"${own}\\n"}`, own), []));
});

describe('Inspector.redactPlain', () => {
  it('gives the same data back, or a copy without the secret', () => {
    const known = inspectorFor(secret);
    const clean = { a: 'x', n: 1 };
    assert.equal(known.redactPlain(clean), clean);
    assert.deepEqual(known.redactPlain({ a: [`${secret}!`], n: 1 }), { a: [`${mark}!`], n: 1 });
  });
});
