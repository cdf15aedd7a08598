import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FlatText } from '../../../src/inspection/flatText.ts';
import { Inspector, type Passing } from '../../../src/inspection/inspector.ts';
import { OutputSchemas } from '../../../src/inspection/outputSchemas.ts';
import { pointerOf, scalarsAt } from '../../../src/inspection/scalars.ts';
import { SecretSearch } from '../../../src/inspection/secretSearch.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';

const anyJson = fc.json({ stringUnit: 'grapheme', noUnicodeString: false } as never).map((text) => text);

/** The strings of a text undone one by one, by the platform’s parser. */
function oracle(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"/g, (string) => `"${(JSON.parse(string) as string).toWellFormed()}"`);
}

describe('FlatText', () => {
  it('undoes escapes once, as a parser would, and finds places again', () => {
    fc.assert(
      fc.property(anyJson, fc.boolean(), (json, ascii) => {
        const text = ascii ? json.replace(/[\u007f-\uffff/]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`) : json;
        const raw = Buffer.from(text);
        const flat = new FlatText();
        const bytes = flat.read(raw);
        assert.equal(bytes.toString('utf8'), oracle(text));
        let last = 0;
        for (let i = 0; i < bytes.length; i++) {
          const [start, end] = [flat.startOf(i), flat.endOf(i + 1)];
          assert.ok(start <= end && end <= raw.length && start >= last - 12);
          // What is no escape stands for itself.
          if (end - start === 1) assert.equal(raw[start], bytes[i]);
          else assert.equal(raw[start], 0x5c);
          last = start;
        }
        if (!text.includes('\\')) assert.equal(bytes, raw);
      }),
      { seed: 31, numRuns: 1_000 },
    );
  });

  it('survives any bytes, and never grows', () => {
    const flat = new FlatText();
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.constantFrom('\\', '\\u', '\\ud83d', '\\udc00', '\\u00e', '"').map((t) => Buffer.from(t)),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const raw = Buffer.concat(pieces);
        const bytes = flat.read(raw);
        assert.ok(bytes.length <= raw.length);
        if (bytes.length > 0) assert.ok(flat.endOf(bytes.length) <= raw.length && flat.startOf(0) === 0);
      }),
      { seed: 32, numRuns: 2_000 },
    );
  });
});

describe('scalarsAt', () => {
  it('gives what ranges touch, with its place', () => {
    const text = '{"a":[1,{"b/c":"x\\n"}],"d":true}';
    const at = (needle: string) => ({ start: text.indexOf(needle), end: text.indexOf(needle) + needle.length });
    const found = scalarsAt(Buffer.from(text), [at('1'), at('b/c'), at('x\\n'), at('true')]);
    assert.deepEqual(
      found.map(({ kind, path }) => [kind, pointerOf(path)]),
      [
        ['other', '/a/0'],
        ['key', '/a/1'],
        ['string', '/a/1/b~1c'],
        ['other', '/d'],
      ],
    );
    assert.deepEqual(scalarsAt(Buffer.from(text), []), []);
  });
});

describe('OutputSchemas', () => {
  it('says what a value may be, through references and alternatives, and survives loops', () => {
    const schemas = new OutputSchemas();
    const outputSchema = {
      properties: {
        a: { anyOf: [{ type: 'string', maxLength: 9 }, { type: 'null' }] },
        n: { type: 'integer' },
        both: { type: ['integer', 'string'] },
        list: { type: 'array', items: { $ref: '#/$defs/uuid' }, prefixItems: [{ type: 'string' }] },
        loop: { $ref: '#/properties/loop' },
      },
      additionalProperties: { format: 'email' },
      $defs: { uuid: { type: 'string', format: 'uuid' } },
    };
    schemas.note('s', 't', JSON.stringify({ name: 't', outputSchema }));
    schemas.note('s', 'plain', JSON.stringify({ name: 'plain' }));
    schemas.note('s', 'broken', '{"outputSchema":');
    const at = (...path: (string | number)[]) => schemas.of('s', 't')?.limitAt(path);
    assert.deepEqual(at('a'), { maxCharacters: 9, shape: false, number: false });
    assert.deepEqual(at('n'), { maxCharacters: undefined, shape: false, number: true });
    assert.equal(at('both'), undefined);
    assert.equal(at('list', 0), undefined);
    assert.equal(at('list', 3)?.shape, true);
    assert.equal(at('other')?.shape, true);
    assert.equal(at('loop'), undefined);
    assert.deepEqual([schemas.of('s', 'plain'), schemas.of('s', 'broken')], [undefined, undefined]);
  });
});

describe('the inspector, fuzzed', () => {
  const secret = madeUpSecret('fuzz');
  const token = ['glpat', 'Fz7kXk29QfLm7Zt3WvRb'].join('-');
  const where: Passing = {
    server: 's',
    serverLabel: 'S',
    tool: 't',
    workspace: undefined,
    schema: { limitAt: (path) => (path.length % 2 === 0 ? { maxCharacters: 12, shape: path.length > 3, number: false } : undefined) },
  };
  const secrets = new SecretSearch({ onProblem: (problem) => assert.fail(problem) });
  const inspector = new Inspector({ secrets, nameOf: () => 'a "name" \\ 名' });
  before(async () => {
    secrets.learn('x@1', secret);
    await secrets.ready();
  });

  it('gives valid JSON for valid JSON, without what it looks for, and the same again for its own output', () => {
    const blob = Buffer.from(`${secret} and ${token}`).toString('base64');
    const text = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 12 }),
      fc.constantFrom(
        secret,
        `x ${token} y`,
        blob,
        `\u001b[1m${secret}\u200b`,
        `"${token}"\n`,
        JSON.stringify({ a: secret, b: token }),
        '\ud83d',
      ),
    );
    const key = fc.oneof(fc.constantFrom('blob', 'data', 'text', 'result', 'structuredContent', secret, `k ${token}`), text);
    const value = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        text,
        fc.integer(),
        fc.constant(null),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
      ),
    })).value;
    fc.assert(
      fc.property(value, fc.constantFrom(undefined, 2), (v, space) => {
        const raw = Buffer.from(JSON.stringify(v, undefined, space));
        const { bytes, findings, blocked } = inspector.message(raw, where);
        assert.notEqual(blocked, true);
        const out: unknown = JSON.parse(bytes.toString('utf8'));
        const all: string[] = [];
        const visit = (node: unknown): void => {
          if (typeof node === 'string') all.push(node, Buffer.from(node, 'base64').toString('latin1'));
          else if (typeof node === 'object' && node !== null) for (const inner of Object.entries(node).flat()) visit(inner);
        };
        visit(out);
        assert.deepEqual(tracesIn(all.join('\n\n'), secret), []);
        assert.ok(!all.some((t) => t.includes(token)));
        assert.deepEqual(tracesIn(JSON.stringify(findings), secret), []);
        if (findings.length === 0) assert.equal(bytes, raw);
        assert.equal(inspector.message(bytes, where).bytes.equals(bytes), true);
      }),
      { seed: 33, numRuns: 800 },
    );
  });

  it('survives any bytes, in pieces of JSON', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 12 }),
      fc
        .constantFrom('{', '}', '[', ']', '"', ':', ',', '\\', '\\u', '"blob":"', '"data": "', secret, token, '\u001b[1m', 'null', '1e5')
        .map((t) => Buffer.from(t)),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const raw = Buffer.concat(pieces);
        const { bytes } = inspector.message(raw, where);
        assert.ok(!bytes.includes(secret) && bytes.length < raw.length * 6 + 200);
        assert.ok(!inspector.text(raw, where).bytes.includes(secret));
      }),
      { seed: 34, numRuns: 3_000 },
    );
  });
});
