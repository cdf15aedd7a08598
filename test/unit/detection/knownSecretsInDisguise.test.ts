import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { Accumulator } from '../../../src/detection/accumulator.ts';
import { KnownSecrets, type SecretMatch } from '../../../src/detection/knownSecrets.ts';
import { Scanner } from '../../../src/detection/scanner.ts';
import { between, compressed, containers, disguises, escapes, spellings, type Dress, type Marked } from './dresses.ts';
import { effort } from '../../support/effort.ts';

/** Secrets as providers make them, with letters and digits, and as people do. A sign at an end would not always be covered, as it says nothing. */
const secret = fc
  .oneof(
    { weight: 4, arbitrary: fc.stringMatching(/^[A-Za-z0-9_-]{10,40}$/) },
    { weight: 2, arbitrary: fc.stringMatching(/^[A-Za-z0-9+/=!$%&*~^.:@-]{12,40}$/) },
    { weight: 1, arbitrary: fc.stringMatching(/^[a-f0-9]{32}$/) },
  )
  .filter((s) => /^[a-z0-9].*[a-z0-9]$/i.test(s) && /[a-z]/i.test(s) && /\d/.test(s) && s.replace(/[^a-z0-9]/gi, '').length >= 10);
/** Forty letters and digits, of which any sixteen are of many kinds. */
const varied = fc
  .uint8Array({ minLength: 40, maxLength: 40 })
  .map((bytes) => Array.from(bytes, (b) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'.charAt(b % 62)).join(''))
  .filter((s) => Array.from({ length: 25 }, (_, i) => new Set(s.slice(i, i + 16).toLowerCase()).size).every((n) => n >= 8));
/** Words and signs that may stand around, none of which runs into an encoding. */
const around = fc.constantFrom('', 'see ', '"', ' {"a": 1}, ', 'token: ', '(', '\n\n', 'ümläut ', '<b>', '; ', '…', ' = ');

function plain(value: string): Marked {
  const text = Buffer.from(value);
  return { text, start: 0, end: text.length };
}

function knowing(...values: string[]): KnownSecrets {
  const known = new KnownSecrets();
  values.forEach((value, i) => known.set(`s${i}`, value));
  return known;
}

/** How many of the secret's letters and digits lie outside the matches. */
function uncovered({ text, start, end }: Marked, matches: readonly SecretMatch[]): number {
  let count = 0;
  let at = start;
  for (const character of text.toString('utf8', start, end)) {
    const matters = /[\p{L}\p{N}\u{e0030}-\u{e007a}]/u.test(character);
    if (matters && !matches.some((m) => m.start <= at && at < m.end)) count++;
    at += Buffer.byteLength(character);
  }
  return count;
}

function shouldCover(known: KnownSecrets, marked: Marked, tell: string): void {
  const matches = known.find(marked.text);
  assert.equal(uncovered(marked, matches), 0, `${tell}: ${JSON.stringify(marked.text.toString('utf8'))} ${JSON.stringify(matches)}`);
}

describe('KnownSecrets, in disguise', () => {
  const one: Readonly<Record<string, Dress>> = { ...escapes, ...disguises, ...spellings, ...containers, ...compressed };
  for (const [name, dress] of Object.entries(one))
    it(`finds and covers ${name}`, () => {
      fc.assert(
        fc.property(secret, around, around, (value, before, after) => {
          shouldCover(knowing(value), between(before, dress(plain(value)), after), name);
        }),
        { seed: 11, numRuns: 100 },
      );
    });

  for (const name of ['base64', 'base64url', 'base64 in lines', 'base64 of UTF-16', 'hex', 'base32', 'UTF-16'])
    it(`finds ${name} of a text that holds it, whatever is around it`, () => {
      fc.assert(
        fc.property(secret, fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ maxLength: 50 }), around, (value, head, tail, before) => {
          const inner = { text: Buffer.concat([head, Buffer.from(value), tail]), start: head.length, end: head.length + value.length };
          const outer = between(before, spellings[name]!(inner), '=');
          // The characters at the ends hold bits of the neighbours too; the last bit may be left there.
          const { start, end } = outer;
          shouldCover(
            knowing(value),
            { ...outer, start: start + (name === 'base32' ? 1 : 0), end: end - (name === 'base32' ? 1 : 0) },
            name,
          );
        }),
        { seed: 12, numRuns: 150 },
      );
    });

  it('unwinds encodings nested to depth three', () => {
    const layers = Object.entries({ ...escapes, ...containers, ...compressed });
    const inner = Object.entries({ ...spellings, ...disguises, ...escapes });
    fc.assert(
      fc.property(
        secret,
        fc.constantFrom(...inner),
        fc.constantFrom(...layers),
        fc.option(fc.constantFrom(...layers), { nil: undefined }),
        around,
        around,
        (value, [spelled, spell], [nameA, a], outer, before, after) => {
          // docs/detection.md: what is too short to be told from a word, and what holds escapes itself.
          fc.pre(value.length >= 15 && !/%[0-9a-f]{2}|&/i.test(value));
          let text = a(between(before, spell(plain(value)), after));
          if (outer) text = outer[1](between(after, text, before));
          shouldCover(knowing(value), between(before, text, after), `${spelled} in ${nameA} in ${outer?.[0] ?? 'text'}`);
        },
      ),
      { seed: 13, numRuns: Number(process.env['CULVERT_RUNS'] ?? 1_500) },
    );
  });

  describe('interrupted at a few places only', () => {
    const between = ['\\n', '\\t', '%20', '%0A', '&nbsp;', '&#10;', '\\x20', '\\u200b', '\u200b', '\u2060\u00ad', '\\r\\n', '\ufe0e'];
    const instead: readonly ((c: string) => string)[] = [
      (c) => `%${c.charCodeAt(0).toString(16)}`,
      (c) => `\\u00${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
      (c) => `&#${c.charCodeAt(0)};`,
      (c) => `%25${c.charCodeAt(0).toString(16)}`,
      (c) => String.fromCharCode(c.charCodeAt(0) + 0xfee0),
      (c) => ({ a: 'á', e: 'é', o: 'ö', u: 'ü', c: 'с', A: 'À', E: 'É', O: 'Õ' })[c] ?? c,
    ];
    const honest = fc.constantFrom('', 'Grüße aus Köln – ', 'für 50% mehr\\n', 'ça va? ', '日本 \n', 'x'.repeat(40), '{"a":"b"} ');
    const dressed = Object.entries({ ...spellings, hexdump: spellings['hex with spaces']! });

    for (const [name, spell] of dressed)
      it(`${name} is found and covered`, () => {
        fc.assert(
          fc.property(
            secret,
            fc.nat(200),
            fc.constantFrom(0, 24, 32, 47, 64, 96),
            fc.constantFrom(...between.map((t) => (c: string) => t + c), ...instead),
            honest,
            honest,
            (value, first, every, write, before, after) => {
              fc.pre(value.length >= 15 && !/[%&\\]/.test(value));
              const text = spell(plain(value)).text.toString('latin1');
              // The last characters of an encoding can hold a few bits only: what stands before them says nothing.
              const place = 1 + (first % (text.length - 4));
              const written = Array.from(text, (c, i) =>
                (i === place || (every > 0 && i > place && i < text.length - 3 && (i - place) % every === 0)) && /[0-9A-Za-z]/.test(c)
                  ? write(c)
                  : c,
              ).join('');
              const all = Buffer.from(`${before} ${written} ${after}`);
              const start = Buffer.byteLength(before) + 1;
              shouldCover(knowing(value), { text: all, start, end: start + Buffer.byteLength(written) }, name);
            },
          ),
          { seed: 19, numRuns: 150 },
        );
      });
  });

  it('finds parts of sixteen bytes and more, and covers them', () => {
    fc.assert(
      fc.property(varied, fc.nat(24), around, fc.constantFrom(...Object.entries(spellings)), (value, from, before, [name, spell]) => {
        const known = knowing(value);
        const part = between(before, spell(plain(value.slice(from, from + 16))), ' ');
        const matches = known.find(part.text);
        // An alignment of base64 or base32 can take the first and the last byte along.
        if (!/base|UTF-16/.test(name)) assert.equal(uncovered(part, matches), 0, `${name} ${part.text.toString()}`);
        else assert.ok(known.find(between(before, spell(plain(value.slice(from, from + 18))), ' ').text).length > 0 || from > 22, name);
        if (from > 0 && from < 24) assert.ok(matches.every((m) => m.fragment));
      }),
      { seed: 14, numRuns: 800 },
    );
  });

  it('leaves clean text alone: words, numbers, code, noise in any encoding', () => {
    const clean = fc.oneof(
      fc.lorem({ maxCount: 40 }),
      fc.json(),
      fc.webUrl({ withQueryParameters: true }),
      fc.base64String({ maxLength: 300 }),
      fc.stringMatching(/^[0-9a-f]{0,200}$/),
      fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b).toString('latin1')),
      fc.string({ unit: 'binary', maxLength: 100 }),
    );
    fc.assert(
      fc.property(fc.array(secret, { maxLength: 5 }), fc.array(clean, { maxLength: 5 }), (values, texts) => {
        const text = texts.join(' ');
        if (values.some((v) => text.toLowerCase().includes(v.toLowerCase()))) return;
        assert.deepEqual(knowing(...values).find(Buffer.from(text)), []);
      }),
      { seed: 15, numRuns: 500 },
    );
  });

  it('never throws, gives places in order, apart and within the text, whatever the bytes', () => {
    const pieces = fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b)),
        fc
          .constantFrom('\\u', '\\ud83d', '%', '%u00', '&#', '&#x;', '&amp', '\\', '\u{e0041}', 'H4sIA', '\r\n', '\u200d')
          .map((s) => Buffer.from(s)),
        secret.map((s) => Buffer.from(s)),
      ),
      { maxLength: 30 },
    );
    const known = knowing('Zx81-aaaa-bbbb-1234', '0123456789abcdef', 'hunter2-hunter2');
    fc.assert(
      fc.property(pieces, (all) => {
        const text = Buffer.concat(all);
        let last = 0;
        for (const { start, end } of known.find(text)) {
          assert.ok(start >= last && end > start && end <= text.length);
          last = end;
        }
      }),
      { seed: 16, numRuns: 1_000 },
    );
  });

  it('stays linear where everything looks like a secret', () => {
    const known = new KnownSecrets();
    const prefix = ['sk', 'ant', 'api03', ''].join('-');
    for (let i = 0; i < 200; i++) known.set(`s${i}`, prefix + createHash('sha256').update(String(i)).digest('base64url'));
    known.set('flat', 'a'.repeat(40));
    known.set('zero', '0'.repeat(64));
    known.prepare();
    for (const unit of [
      'sk-ant-api03-',
      'a',
      '0',
      '000000Qx7bTz',
      '\\u0061',
      '%30',
      '\\\\\\\\n',
      '&#48;',
      'MDAw',
      '3030',
      'AA\n',
      '\u{e0030}',
      '0x30,',
    ] as const) {
      const text = Buffer.from(unit.repeat(Math.ceil(65_536 / unit.length)));
      const ms = effort(() => known.find(text), 400);
      assert.ok(ms < 400, `${JSON.stringify(unit)}: ${ms.toFixed(0)} ms for 64 KB`);
    }
  });

  it('inflates no more than it may, and says so', () => {
    const known = knowing('Zx81-aaaa-bbbb-1234');
    const bomb = compressed['gzip']!(plain('0'.repeat(4_000_000))).text;
    assert.equal(known.search(bomb).complete, false);
    assert.equal(known.search(Buffer.from('{"a":1}')).complete, true);
  });

  it('knows one value under several names, and forgets them one by one', () => {
    const known = knowing('Zx81-aaaa-bbbb-1234', 'Zx81-aaaa-bbbb-1234');
    const text = Buffer.from('Zx81-aaaa-bbbb-1234');
    assert.equal(known.find(text, (id) => id === 's1')[0]?.id, 's1');
    known.delete('s0');
    assert.equal(known.find(text)[0]?.id, 's1');
    known.set('s1', 'another-value-77');
    assert.deepEqual([known.find(text).length, known.size], [0, 1]);
  });
});

describe('Scanner', () => {
  it('gives the same text with the same places as in one piece, holding back no more than its window', () => {
    const windowBytes = 1_024;
    fc.assert(
      fc.property(
        fc.array(fc.oneof(secret, fc.lorem({ maxCount: 30 }), fc.constantFrom('\n', 'é', '\\n', '%41', 'x'.repeat(300))), {
          maxLength: 60,
        }),
        fc.constantFrom(...Object.values({ ...spellings, ...escapes })),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 10 }),
        fc.nat(),
        (words, dress, sizes, pick) => {
          const secrets = words.filter((w) => /\d/.test(w) && !w.includes('%41'));
          const value = secrets[pick % Math.max(secrets.length, 1)];
          if (value === undefined) return;
          const known = knowing(value);
          const text = Buffer.from(
            words.map((w) => (w === value ? dress(plain(w)).text.toString('latin1') : Buffer.from(w).toString('latin1'))).join(' '),
            'latin1',
          );
          const scanner = new Scanner(known, { windowBytes });
          const out: Buffer[] = [];
          const matches: SecretMatch[] = [];
          let [given, taken, n] = [0, 0, 0];
          const take = ({ bytes, matches: found }: { bytes: Buffer; matches: readonly SecretMatch[] }) => {
            matches.push(...found.map((m) => ({ ...m, start: m.start + taken, end: m.end + taken })));
            out.push(bytes);
            taken += bytes.length;
          };
          while (given < text.length) {
            const size = sizes[n++ % sizes.length]!;
            take(scanner.push(text.subarray(given, given + size)));
            given = Math.min(text.length, given + size);
            assert.ok(given - taken <= windowBytes);
          }
          take(scanner.flush());
          assert.ok(Buffer.concat(out).equals(text));
          assert.deepEqual(
            matches.map(({ start, end }) => [start, end]),
            known.find(text).map(({ start, end }) => [start, end]),
          );
        },
      ),
      { seed: 17, numRuns: 400 },
    );
  });

  it('finds what is longer than its window in parts', () => {
    const value = 'k9Qz'.repeat(200).replace(/k/g, (_, i: number) => String(i % 10));
    const scanner = new Scanner(knowing(value), { windowBytes: 256 });
    let covered = 0;
    for (let i = 0; i < value.length; i += 64)
      for (const m of scanner.push(Buffer.from(value.slice(i, i + 64))).matches) covered += m.end - m.start;
    for (const m of scanner.flush().matches) covered += m.end - m.start;
    assert.equal(covered, value.length);
  });
});

describe('Accumulator', () => {
  const value = ['tk', 'q7Lm2Xv9', 'Rb4Nw8Zc', 'Ht6Yp3Kd', 'Gs5Jf1Wa'].join('_');

  it('adds up parts that are each too short, and tells of each from the threshold on, also if it comes again', () => {
    const known = knowing(value);
    const sum = new Accumulator(known);
    assert.deepEqual(known.find(Buffer.from('q7Lm2Xv9')), []);
    const told = ['a q7Lm2Xv9 b', 'x=Rb4Nw8Zc', 'nothing', 'Ht6Yp3Kd', 'nothing', 'Ht6Yp3Kd', 'Gs5Jf1Wa'].map(
      (t) => sum.add(Buffer.from(t)).length,
    );
    assert.deepEqual(told, [0, 0, 0, 1, 0, 1, 1]);
    assert.ok(sum.fractionOf('s0') > 0.8);
    sum.forget('s0');
    assert.equal(sum.fractionOf('s0'), 0);
  });

  it('reads on where the last text of the same stream ended', () => {
    const pieces = value.match(/.{1,5}/g) ?? [];
    const same = new Accumulator(knowing(value));
    assert.ok(pieces.flatMap((p) => same.add(Buffer.from(p), 'tool')).length > 0);
    const apart = new Accumulator(knowing(value));
    assert.equal(pieces.flatMap((p, i) => apart.add(Buffer.from(p), `tool ${i}`)).length, 0);
  });

  it('sees parts in other spellings, too', () => {
    const sum = new Accumulator(knowing(value));
    const hex = Buffer.from(value).toString('hex');
    assert.ok((hex.match(/.{1,34}/g) ?? []).flatMap((p, i) => sum.add(Buffer.from(p), `t${i}`)).length > 0);
    assert.equal(sum.add(Buffer.from('honest words only')).length, 0);
  });
});
