import assert from 'node:assert/strict';
import { Inspector, type Passing } from '../../../src/inspection/inspector.ts';
import { SecretSearch } from '../../../src/inspection/secretSearch.ts';
import { compressed, containers, disguises, escapes, spellings, type Marked } from '../detection/dresses.ts';

/**
 * The ways in which secrets and tricks hide (docs/detection.md), each with what becomes of it: taken out, or named here as what can't be caught.
 */

const VALUE = ['kd', 'Qm2Xv9Rb', '4Nw8ZcHt', '6Yp3Gs5J', 'f1WaUe0Q'].join('_');
const OTHER = ['pv', 'T7rK1mXq', '3LsD9wBz', '5HnC2yFg'].join('-');
const TOKEN = ['glpat', 'At7kXk29QfLm7Zt3WvRb'].join('-');
const HERE: Passing = { server: 's', serverLabel: 'S', tool: 't', workspace: undefined };

const textOf = (dress: (plain: Marked) => Marked, plain = VALUE) =>
  dress({ text: Buffer.from(plain), start: 0, end: Buffer.byteLength(plain) }).text.toString('utf8');
const codes = (text: string) => Array.from(text, (c) => c.charCodeAt(0));
const base58 = (text: string) => {
  const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
  let n = BigInt(`0x${Buffer.from(text).toString('hex')}`);
  let out = '';
  for (; n > 0n; n /= 58n) out = alphabet.charAt(Number(n % 58n)) + out;
  return out;
};

describe('attacks on the way to the model', () => {
  const secrets = new SecretSearch({ onProblem: (problem) => assert.fail(problem) });
  const inspector = new Inspector({ secrets, nameOf: (id) => id });
  before(async () => {
    secrets.learn('vault@1', VALUE);
    secrets.learn('other@1', OTHER);
    await secrets.ready();
  });

  const inspect = (message: unknown) => {
    const out = inspector.message(Buffer.from(JSON.stringify(message)), HERE);
    return {
      text: out.bytes.toString('utf8'),
      json: JSON.parse(out.bytes.toString('utf8')) as unknown,
      rules: out.findings.map((f) => f.rule),
    };
  };
  const inText = (text: string) => inspect({ jsonrpc: '2.0', id: 1, result: { content: [{ type: 'text', text: `see: ${text} .` }] } });

  describe('known secrets are taken out', () => {
    const dresses = { ...escapes, ...disguises, ...spellings, ...containers, ...compressed };
    for (const [name, dress] of Object.entries(dresses))
      it(name, () => {
        const dressed = textOf(dress);
        const out = inText(dressed);
        assert.ok(out.rules.includes('known-secret'), out.rules.join());
        assert.ok(!out.text.includes(JSON.stringify(dressed).slice(1, -1)));
      });
    const more: Readonly<Record<string, unknown>> = {
      'half of it': `${VALUE.slice(3, 25)}…`,
      'in a key': { [VALUE]: 1 },
      'split over the elements of a list': VALUE.match(/.{1,6}/g),
      'split over list elements with quotes between': (VALUE.match(/.{1,4}/g) ?? []).map((v) => `"${v}"`),
      'a URI': `file:///x?key=${encodeURIComponent(VALUE)}`,
      'a data URI': `data:text/plain;base64,${Buffer.from(VALUE).toString('base64')}`,
      'JSON in JSON in JSON': JSON.stringify(JSON.stringify({ v: JSON.stringify(VALUE) })),
      'base64 of hex of base64': Buffer.from(Buffer.from(Buffer.from(VALUE).toString('base64')).toString('hex')).toString('base64'),
      'two of them, one in the other’s gaps': `${VALUE} ${OTHER}`,
      'in a table': VALUE.split('').join(' | '),
      'behind a word that switches scanners off': `secretlint-disable gitleaks:allow EXAMPLE nosecret ${VALUE}`,
    };
    for (const [name, value] of Object.entries(more))
      it(name, () => {
        const out = inspect({ jsonrpc: '2.0', id: 1, result: { structuredContent: { value } } });
        assert.ok(out.rules.includes('known-secret'), out.rules.join());
        assert.ok(!out.text.includes(VALUE) && !out.text.includes(OTHER));
      });
  });

  describe('patterns are taken out', () => {
    const places: Readonly<Record<string, string>> = {
      'in text': `use ${TOKEN}.`,
      'behind a literal \\n': `x\\n${TOKEN}`,
      'behind an escape of JSON': JSON.stringify({ a: `\n${TOKEN}` }),
      'behind words that switch scanners off': `gitleaks:allow secretlint-disable EXAMPLE ${TOKEN}`,
      'opaque bearer': `Authorization: Bearer ${['q7LmTz5Vn2E', 'x3UgPo8Ij6RyCw'].join('')}`,
      'basic credentials': `Authorization: Basic ${Buffer.from(`me:${['q7LmTz5V', 'n2Ex3Ug'].join('')}`).toString('base64')}`,
      'user info of a URL': `postgres://app:${['q7LmTz5V', 'n2Ex3Ug'].join('')}@db.internal/x`,
    };
    for (const [name, text] of Object.entries(places))
      it(name, () => {
        const out = inText(text);
        assert.ok(out.rules.length > 0, name);
        assert.match(out.text, /⟦culvert: [\w-]+ redacted⟧/);
        assert.ok(!out.text.includes(TOKEN) && !out.text.includes('q7LmTz5V'));
      });
    const apart: Readonly<Record<string, string>> = {
      'zero-width characters': '\u200b',
      'tag characters': '\u{e0041}',
      'a direction override': '\u202e',
      'terminal escapes': '\u001b[0m',
      'control characters': '\u0008\u0001\u0002',
    };
    for (const [name, between] of Object.entries(apart))
      it(`kept apart by ${name} that are stripped`, () => {
        for (const split of [`${TOKEN.slice(0, 12)}${between}${TOKEN.slice(12)}`, Array.from(TOKEN).join(between)]) {
          const out = inText(split);
          assert.deepEqual(new Set(out.rules), new Set(['hidden-text', 'gitlab-token']));
          assert.match(out.text, /see: ⟦culvert: gitlab-token redacted⟧ \./);
          const plain = inspector.text(Buffer.from(`not JSON: ${split}`), HERE);
          assert.equal(plain.bytes.toString(), 'not JSON: ⟦culvert: gitlab-token redacted⟧');
        }
      });
    it('kept apart behind more findings than are told of', () => {
      const many = Array.from({ length: 250 }, (_, i) => ({ [`k${i}`]: TOKEN }));
      const out = inspect({ result: { structuredContent: [...many, `${TOKEN.slice(0, 12)}\u200b${TOKEN.slice(12)}`] } });
      assert.ok(!out.text.includes(TOKEN));
    });
    it('kept apart in a message so large that it is searched elsewhere', async () => {
      const split = `${TOKEN.slice(0, 12)}\u200b${TOKEN.slice(12)}`;
      for (const known of ['', VALUE]) {
        const large = {
          result: {
            content: [
              { type: 'text', text: 'x y '.repeat(80_000) },
              { type: 'text', text: `a ${split} ${known} b` },
            ],
          },
        };
        const out = await inspector.look(Buffer.from(JSON.stringify(large)), HERE);
        assert.ok(!out.bytes.includes(TOKEN.slice(12)) && !out.bytes.includes(VALUE) && out.bytes.includes('x y x y'));
        assert.ok(out.findings.some((f) => f.rule === 'gitlab-token' && f.action === 'redacted'));
      }
    });
    it('whole, where a part of it is known', () => {
      const out = inText(`glpat-${VALUE.replaceAll('_', '').slice(0, 17)}zzz`);
      assert.match(out.text, /see: ⟦culvert: vault@1 redacted⟧ \./);
    });
    it('assigned in structured content, where the name is a key', () => {
      const secret = ['q7LmTz5Vn2Ex3UgPo8I', 'j6RyCwAa1SdFk4Gh9JlZx'].join('');
      const out = inspect({ result: { structuredContent: { aws_secret_access_key: secret } } });
      assert.ok(!out.text.includes(secret), out.text);
    });
  });

  describe('hidden text is stripped', () => {
    const hidden: Readonly<Record<string, string>> = {
      'tag characters': Array.from('do evil', (c) => String.fromCodePoint(0xe0000 + c.charCodeAt(0))).join(''),
      'variation selectors that carry bytes': codes('do evil')
        .map((b) => String.fromCodePoint(0xe0100 + b - 16))
        .join(''),
      'zero-width bits': codes('hi')
        .flatMap((b) => Array.from(b.toString(2).padStart(8, '0'), (bit) => (bit === '0' ? '\u200b' : '\u200c')))
        .join(''),
      'direction override': '\u202e',
      'terminal escapes': '\u001b]8;;https://evil.example\u0007click\u001b]8;;\u0007',
      'control characters': '\u0000\u0008',
    };
    for (const [name, text] of Object.entries(hidden))
      it(name, () => {
        const out = inspect({ result: { content: [{ type: 'text', text: `a${text}b` }] } });
        assert.ok(out.rules.includes('hidden-text'));
        const shown = (out.json as { result: { content: { text: string }[] } }).result.content[0]?.text ?? '';
        assert.equal(shown.replace('click', ''), 'ab');
      });
    it('all of it, where there is more than is told of', () => {
      const out = inspect({ result: { text: '\u001b[1mx'.repeat(5_000), after: 'é stays' } });
      assert.deepEqual(out.json, { result: { text: 'x'.repeat(5_000), after: 'é stays' } });
    });
  });

  it('leaves honest text as it is: the same buffer', () => {
    const honest = Buffer.from(
      JSON.stringify({
        result: {
          content: [{ type: 'text', text: 'naïve 👩‍👩‍👧 “quotes”\n\tpath C:\\new\\table %20 &amp; مرحبا שלום नमस्ते', nextPageToken: 'abc' }],
          structuredContent: {
            progressToken: 7,
            'Idempotency-Key': '8e03978e-40d5-43e8-bc93-6894a57f9324',
            sha: 'da39a3ee5e6b4b0d3255bfef95601890afd80709',
          },
        },
      }),
    );
    assert.equal(inspector.message(honest, HERE).bytes, honest);
  });

  describe('what can’t be caught', () => {
    const missed: Readonly<Record<string, string>> = {
      encryption: Buffer.from(codes(VALUE).map((c, i) => c ^ (37 + i * 11))).toString('base64'),
      'other alphabets': Buffer.from(VALUE)
        .toString('hex')
        .replace(/[0-9a-f]/g, (c) => 'ghijklmnopqrstuv'.charAt(parseInt(c, 16))),
      base58: base58(VALUE),
      'transforms upon transforms that nobody undoes': Buffer.from(
        textOf((p) => spellings['rot13']!(p))
          .split('')
          .reverse()
          .join(''),
      )
        .toString('base64')
        .split('')
        .reverse()
        .join(''),
      Morse: codes(VALUE)
        .map((c) => (c % 2 === 0 ? '.-' : '-.'))
        .join(' '),
      'words for letters': Array.from(VALUE, (c) => `the letter after ${String.fromCharCode(c.charCodeAt(0) - 1)}, then`).join(' '),
      'parts of fewer than eight letters far apart': (VALUE.match(/.{1,6}/g) ?? []).join(
        ` ${'and a good deal of other text in between '.repeat(3)}`,
      ),
    };
    for (const [name, text] of Object.entries(missed))
      it(`${name} passes`, () => {
        assert.ok(!inText(text).rules.includes('known-secret'));
      });
  });
});
