import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import fc from 'fast-check';
import { packedTextScan } from '../../../scripts/textScan.ts';
import { ChangeFilter } from '../../../src/detection/changes.ts';
import { Unescaped } from '../../../src/detection/escapes.ts';
import { findHiddenText, mayHideText } from '../../../src/detection/hiddenText.ts';
import { KnownSecrets } from '../../../src/detection/knownSecrets.ts';
import { foldedCharacter, foldingTable } from '../../../src/detection/lookAlikes.ts';
import { RULES } from '../../../src/detection/rules/all.ts';
import { KeywordScanner } from '../../../src/detection/rules/keywords.ts';
import { PatternMatcher } from '../../../src/detection/rules/matcher.ts';
import { newCore, SecretIndex } from '../../../src/detection/secretIndex.ts';
import { Symbols } from '../../../src/detection/symbols.ts';
import { textScanFor, useTextScanFrom } from '../../../src/detection/textScan.ts';
import { FlatText } from '../../../src/inspection/flatText.ts';
import { Search } from '../../../src/inspection/search.ts';
import { PROJECT_ROOT } from '../../harness/paths.ts';
import { compressed, containers, disguises, escapes, spellings, type Dress } from './dresses.ts';

const SECRET = ['tok', '8fK2', 'Qw93', 'zL0pVxR7', 'mN5c'].join('-');
const OTHER = ['Ärger', 'Zürich', 'übermäßig', 'Öl'].join('7');
const CAPACITY = 256 * 1024;

/** What `run` gives without the module, and with it for every text. */
function bothWays<T>(run: () => T): [T, T] {
  try {
    useTextScanFrom(Number.POSITIVE_INFINITY);
    const plain = run();
    useTextScanFrom(0);
    return [plain, run()];
  } finally {
    useTextScanFrom();
  }
}

function same<T>(run: () => T): T {
  const [plain, scanned] = bothWays(run);
  assert.deepEqual(scanned, plain);
  return plain;
}

/** Pieces that the loops look at twice, and what surrounds them. */
const dressed = [escapes, disguises, spellings, containers, compressed].flatMap(Object.values<Dress>).map((dress) => {
  const text = Buffer.from(SECRET);
  return dress({ text, start: 0, end: text.length }).text;
});
const piece = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: 'binary-ascii', maxLength: 40 }).map((text) => Buffer.from(text)) },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => Buffer.from(text)) },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 24 }).map((bytes) => Buffer.from(bytes)) },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom(
        ...'\\|\\\\|\\"|\\n|\\u|\\u00e|\\u0061|\\ud83d|\\udc00|\\ud83d\\ude00|"|"data"|"blob":"|\\"data"|%|%41|&|&amp;|@|://|key|KEY|\u00ad|\u200b|\u2066|\u00e4|é|ß|\u0410|Ⅷ|﹠|％|日本|\u{1d5ba}|\u{e0041}|\u{1f600}|\r\n|\u001b[31m|\u007f|0123456789abcdef0123|SGVsbG8gd29ybGQgYWdhaW4h'.split(
          '|',
        ),
      )
      .map((text) => Buffer.from(text)),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(SECRET, OTHER, SECRET.slice(3), SECRET.slice(0, -4), SECRET.toUpperCase()).map((text) => Buffer.from(text)),
  },
  { weight: 1, arbitrary: fc.constantFrom(...dressed) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('a', ' ', 'ä', '日', '\\', '"', '\u0410', '7'), fc.nat(1100))
      .map(([c, n]) => Buffer.from(c.repeat(n))),
  },
);
/** Texts of all lengths, at odd places in their memory. */
const text = fc
  .tuple(fc.array(piece, { maxLength: 24 }), fc.nat(7), fc.option(fc.oneof(fc.nat(40), fc.integer({ min: 1000, max: 1060 }))))
  .map(([pieces, offset, length]) => {
    const all = Buffer.concat([Buffer.alloc(offset, 0x61), ...pieces]);
    return all.subarray(offset, length === null ? undefined : offset + length);
  });
const RUNS = { seed: 41, numRuns: 1_500 };

describe('the module for searching texts', () => {
  afterEach(() => useTextScanFrom());

  it('is there', () => {
    useTextScanFrom(0);
    assert.ok(textScanFor(0));
    assert.ok(textScanFor(CAPACITY));
    assert.ok(textScanFor(CAPACITY + 1) === undefined);
    useTextScanFrom();
    assert.ok(textScanFor(40) === undefined);
  });

  it('reads the same symbols', () => {
    const [plain, scanning] = [new Symbols(), new Symbols(true)];
    useTextScanFrom(0);
    fc.assert(
      fc.property(text, (bytes) => {
        plain.read(bytes);
        scanning.read(bytes);
        const symbols = Buffer.from(plain.symbols.subarray(0, plain.count));
        assert.deepEqual(Buffer.from(scanning.symbols.subarray(0, scanning.count)), symbols);
        for (let i = 0; i < plain.count; i += 1 + (i >> 4)) assert.equal(scanning.placeOf(i), plain.placeOf(i));
      }),
      RUNS,
    );
  });

  it('finds the same secrets, whatever the text, also as secrets come and go', () => {
    const known = new KnownSecrets();
    const secrets = [SECRET, OTHER, 'short-one', SECRET.slice(4), ...Array.from({ length: 40 }, (_, i) => `pass${i}word${i * 7919}Äö`)];
    fc.assert(
      fc.property(text, fc.nat(secrets.length - 1), fc.boolean(), (bytes, which, add) => {
        const id = `s${which}`;
        if (add) known.set(id, secrets[which]!);
        else known.delete(id);
        same(() => [known.search(bytes), known.parts(bytes)]);
      }),
      RUNS,
    );
    known.set('s0', SECRET);
    assert.ok(same(() => known.find(Buffer.from(`${'ä ö ü '.repeat(50)}${SECRET}`))).length > 0);
  });

  it('finds secrets that only show when characters are read as others', () => {
    const known = new KnownSecrets();
    known.set('a', SECRET);
    const likes = new Map<string, string>();
    for (let point = 0x80; point < 0x20000; point++) {
      const folded = foldedCharacter(point);
      if (folded?.length === 1) likes.set(String.fromCharCode(folded[0]!), String.fromCodePoint(point));
    }
    fc.assert(
      fc.property(fc.nat(60), fc.nat(60), fc.array(fc.nat(SECRET.length - 1), { minLength: 1, maxLength: 9 }), (before, after, at) => {
        const written = Array.from(SECRET, (c, i) => (at.includes(i) ? (likes.get(c) ?? c) : c)).join('');
        const bytes = Buffer.from(`${'für das é '.repeat(before)}${written}${' – “ja”'.repeat(after)}`);
        const found = same(() => known.find(bytes));
        assert.equal(found.length, 1);
      }),
      { seed: 42, numRuns: 400 },
    );
  });

  it('takes the same changes for suspect', () => {
    const index = new SecretIndex();
    index.add(newCore(SECRET));
    const built = index.build();
    const [unescaped, filter] = [new Unescaped(), new ChangeFilter()];
    const letters = SECRET.replaceAll('-', '');
    const part = fc.tuple(fc.nat(letters.length), fc.integer({ min: 1, max: 11 })).map(([at, n]) => letters.slice(at, at + n));
    const run = fc.tuple(fc.constantFrom('Ab', '9/', '-_', 'x\n', 'y\r\n'), fc.integer({ min: 1, max: 7 })).map(([c, n]) => c.repeat(n));
    const changed = fc.constantFrom(...Array.from('äéＱ８ｚ\u200b\u0410Ⅷ–’'));
    const other = fc.constantFrom(
      '日',
      '😀',
      '% ',
      '& ',
      '&x ',
      '％',
      '﹠',
      ' ',
      '.',
      '. . . . ',
      '; ; ; ; ; ; ; ; ',
      'lorem ipsum ',
      '\n',
    );
    const pieces = fc.array(fc.oneof(part, part, run, changed, changed, other, other), { maxLength: 14 });
    let [suspect, harmless] = [0, 0];
    useTextScanFrom(0);
    const scan = textScanFor(0)!;
    assert.ok(scan.use(built.filter!));
    scan.fold(foldingTable);
    fc.assert(
      fc.property(pieces, fc.constantFrom(1, 6, 192), fc.boolean(), (texts, around, broken) => {
        const bytes = Buffer.concat([Buffer.from(texts.join('')), Buffer.from(broken ? [0xff, 0x20] : [])]);
        let visits = 0;
        if (unescaped.read(bytes)) {
          const isSuspect = (from: number, to: number) =>
            filter.isSuspect(unescaped.bytes, from, to, unescaped.goesOn, { ...built, around });
          unescaped.forEachChange(around, isSuspect, () => visits++);
        }
        const holds = (symbols: Uint8Array, at: number) => built.layers.some(({ seeds }) => seeds.holds(symbols, at));
        assert.equal(scan.changesNothing(scan.place(bytes), bytes.length, around, holds), visits === 0);
        if (visits > 0) suspect++;
        else harmless++;
      }),
      { seed: 43, numRuns: 20_000 },
    );
    assert.ok(suspect > 2_000 && harmless > 2_000, `${suspect}, ${harmless}`);
  });

  it('finds a secret behind characters that become more than they were', () => {
    const known = new KnownSecrets();
    known.set('a', SECRET);
    // Three bytes each, read as `VIII`; what was read once had no room for them all.
    const bytes = Buffer.from(
      `${'Ⅷ '.repeat(16_000)}${SECRET.replace('Q', 'Ｑ').replace('z', 'ｚ').replace('8', '８').replace('m', 'ｍ')}`,
    );
    assert.equal(same(() => known.find(bytes)).length, 1);
  });

  it('finds the same with more secrets than its filter has room for', () => {
    const known = new KnownSecrets();
    for (let i = 0; i < 1_500; i++)
      known.set(`s${i}`, `${(i * 2654435761).toString(36)}-${(i * 40503 + 7).toString(36)}-${'xyzw'.repeat(9)}${i}`);
    const bytes = Buffer.from(
      `${'für '.repeat(300)}${(77 * 2654435761).toString(36)}-${(77 * 40503 + 7).toString(36)}-${'xyzw'.repeat(9)}77`,
    );
    assert.ok(same(() => known.find(bytes)).length > 0);
  }).timeout(60_000);

  it('finds the same keywords, also with more scanners than it keeps', () => {
    const words = RULES.flatMap(({ keywords }) => keywords);
    const scanners = Array.from({ length: 6 }, (_, n) =>
      words.filter((_, i) => i % 6 <= n).map((word, i) => ({ text: word, after: [], needsSentinel: i % 5 === 0 && word.length > 3 })),
    ).map((keywords) => new KeywordScanner(keywords));
    const spelled = fc
      .tuple(fc.constantFrom(...words), fc.boolean())
      .map(([word, upper]) => Buffer.from(upper ? word.toUpperCase() : word));
    fc.assert(
      fc.property(fc.array(fc.oneof(spelled, text), { maxLength: 30 }), fc.nat(5), (pieces, which) => {
        const bytes = Buffer.concat(pieces);
        same(() => {
          const visits: number[] = [];
          scanners[which]!.scan(bytes, (keyword, start) => visits.push(keyword, start));
          return visits;
        });
      }),
      RUNS,
    );
  });

  it('finds every keyword of a text that is nothing else', () => {
    const scanner = new KeywordScanner(['aa', 'aaa', 'aaaa', 'ab', 'abab', 'ba'].map((word) => ({ text: word, after: [] })));
    for (const bytes of [Buffer.alloc(20_000, 'a'), Buffer.alloc(20_001, 'aB')])
      assert.ok(
        same(() => {
          let [visits, sum] = [0, 0];
          scanner.scan(bytes, (keyword, start) => {
            visits++;
            sum = (Math.imul(sum, 31) + keyword * 7 + start) | 0;
          });
          return [visits, sum];
        })[0]! > 20_000,
      );
  });

  it('finds the same patterns', () => {
    const matcher = new PatternMatcher(RULES);
    const example = fc.constantFrom(
      ...['gh' + 'p_', 'xo' + 'xb-', 'AK' + 'IA', 'sk-' + 'ant-api03-', 'postgres://u:', '@db.example', 'password = '].map((text) =>
        Buffer.from(text),
      ),
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(example, text), { maxLength: 12 }), (pieces) => {
        const bytes = Buffer.concat(pieces);
        same(() => matcher.find(bytes).map(({ start, end, rule, verified }) => [start, end, rule.id, verified]));
      }),
      RUNS,
    );
  });

  it('finds the same hidden text', () => {
    fc.assert(
      fc.property(text, (bytes) => {
        same(() => findHiddenText(bytes));
        const [, may] = bothWays(() => mayHideText(bytes));
        if (!may) assert.deepEqual(findHiddenText(bytes), []);
      }),
      RUNS,
    );
    for (let point = 1; point < 0x20000; point++) {
      if (point >= 0xd800 && point < 0xe000) continue;
      const bytes = Buffer.from(`a${String.fromCodePoint(point)}`);
      const [plain, scanned] = bothWays(() => (mayHideText(bytes) ? findHiddenText(bytes).length : 0));
      if (plain !== scanned) assert.fail(`U+${point.toString(16)}: ${plain}, ${scanned}`);
    }
  });

  it('undoes the escapes of JSON alike, and sees the keys of base64', () => {
    const flat = new FlatText();
    fc.assert(
      fc.property(text, (bytes) => {
        same(() => {
          const result = Buffer.from(flat.read(bytes));
          const places = Array.from(result.subarray(0, 200), (_, i) => [flat.startOf(i), flat.endOf(i + 1)]);
          if (bytes.includes('"data"') || bytes.includes('"blob"')) assert.ok(flat.mayHoldBlobs);
          flat.release();
          return [result, places];
        });
      }),
      RUNS,
    );
    useTextScanFrom(0);
    flat.read(Buffer.from('{"text":"data, blob \\"date\\" \\"data"}'));
    assert.equal(flat.mayHoldBlobs, true, 'what could be');
    for (let before = 0; before < 40; before++) {
      flat.read(Buffer.from(`${' '.repeat(before)}\\n\\"data"`));
      assert.equal(flat.mayHoldBlobs, true, `behind ${before} blanks`);
    }
    flat.read(Buffer.from('{"text":"data, blob, \\"date\\" \\"data\\", database"}'));
    assert.equal(flat.mayHoldBlobs, false);
    flat.release();
  });

  it('finds the same in messages, and in what is in them', () => {
    const known = new KnownSecrets();
    known.set('a', SECRET);
    known.set('b', OTHER);
    const search = new Search({ known, patterns: [new PatternMatcher(RULES)] });
    const message = fc.tuple(text, fc.array(text, { maxLength: 2 }), fc.nat(3)).map(([own, blobs, depth]) => {
      let inner: unknown = {
        text: own.toString('utf8'),
        blobs: blobs.map((blob) => ({ blob: blob.toString('base64'), data: blob.toString('base64') })),
      };
      for (let i = 0; i < depth; i++) inner = { text: JSON.stringify(inner) };
      return Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result: inner }));
    });
    fc.assert(
      fc.property(fc.oneof(message, text), fc.boolean(), (bytes, hidden) => {
        same(() => [search.message(bytes, { hidden }), search.text(bytes, { hidden }), search.message(bytes, { hidden, only: ['b'] })]);
      }),
      RUNS,
    );
  });

  it('sees a text anew that was changed in place', () => {
    const known = new KnownSecrets();
    known.set('a', SECRET);
    const search = new Search({ known, patterns: [] });
    const bytes = Buffer.from(JSON.stringify({ text: `${'x '.repeat(400)}${'-'.repeat(SECRET.length)}` }));
    assert.equal(search.message(bytes, { hidden: true }).hits.length, 0);
    bytes.write(SECRET, bytes.length - 2 - SECRET.length);
    assert.equal(search.message(bytes, { hidden: true }).hits.length, 1);
    bytes.fill(0x20, bytes.length - 2 - SECRET.length, bytes.length - 2);
    assert.equal(known.find(bytes).length, 0);
  });

  it('finds the same in real texts, around the longest that it takes and beyond', () => {
    const known = new KnownSecrets();
    known.set('a', SECRET);
    const search = new Search({ known, patterns: [new PatternMatcher(RULES)] });
    const files = ['README.md', 'CHANGELOG.md', 'package-lock.json', 'src/detection/escapes.ts'].map((name) =>
      readFileSync(join(PROJECT_ROOT, name)),
    );
    const all = Buffer.concat([...files, Buffer.from(` ${SECRET.replace('8', '８')} `)]);
    const texts = [
      ...files,
      ...[-17, -16, -1, 0, 1, 2 * CAPACITY].map((more) => Buffer.concat([all, all, all]).subarray(-CAPACITY - more)),
    ];
    for (const bytes of texts) {
      const found = same(() => search.text(bytes, { hidden: true }));
      assert.ok(files.includes(bytes) || found.hits.some(({ kind }) => kind === 'known'));
      same(() => search.message(Buffer.from(JSON.stringify({ text: bytes.toString('utf8') })), { hidden: true }));
    }
  }).timeout(60_000);

  it('is in the bundle, and done without where there is no WebAssembly', () => {
    const script = `
      import { KnownSecrets } from './src/detection/knownSecrets.ts';
      import { textScanFor } from './src/detection/textScan.ts';
      const known = new KnownSecrets();
      known.set('a', ${JSON.stringify(SECRET)});
      const found = known.find(Buffer.from('ä '.repeat(500) + ${JSON.stringify(SECRET)}));
      console.log(textScanFor(5000) !== undefined, found.length);`;
    const { outputFiles } = buildSync({
      stdin: { contents: script, resolveDir: PROJECT_ROOT },
      bundle: true,
      write: false,
      platform: 'node',
      format: 'esm',
      define: { CULVERT_SCAN: JSON.stringify(packedTextScan()) },
    });
    const run = (...flags: string[]) =>
      execFileSync(process.execPath, [...flags, '--input-type=module', '-'], { input: outputFiles[0]!.text, encoding: 'utf8' }).trim();
    assert.equal(run(), 'true 1');
    assert.equal(run('--jitless'), 'false 1');
  });
});
