import assert from 'node:assert/strict';
import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, sep, win32 } from 'node:path';
import fc from 'fast-check';
import { localFiles } from '../../../src/authorization/localFiles.ts';
import { below, parseFolder, remembered, type Files } from '../../../src/authorization/paths.ts';
import { temporaryFolder } from '../../support/folders.ts';

const posix: Files = { flavor: 'posix', caseSensitive: true };
const mac: Files = { flavor: 'posix', caseSensitive: false };
const windows: Files = { flavor: 'windows', caseSensitive: false };

function verdict(value: string, folder: string, files: Files, relativeTo?: string): string {
  const parsed = parseFolder(folder, files.flavor);
  assert.ok(parsed, folder);
  return below(value, parsed, files, relativeTo);
}

describe('below', () => {
  const table: readonly (readonly [string, string, Files, 'yes' | 'no' | 'unclear'])[] = [
    ['/proj/shop/a.txt', '/proj/shop', posix, 'yes'],
    ['/proj/shop', '/proj/shop', posix, 'yes'],
    ['/proj/shop/', '/proj/shop/', posix, 'yes'],
    ['/proj/./shop//a', '/proj/shop', posix, 'yes'],
    ['/proj/shop/../shop/a', '/proj/shop', posix, 'yes'],
    ['/proj/shopping/a', '/proj/shop', posix, 'no'],
    ['/proj/shop/../../etc/passwd', '/proj/shop', posix, 'no'],
    ['/etc/passwd', '/proj/shop', posix, 'no'],
    // Relative, home, variables: nobody knows where they lead.
    ['a.txt', '/proj/shop', posix, 'unclear'],
    ['~/a', '/proj/shop', posix, 'unclear'],
    ['/proj/shop/$HOME/a', '/proj/shop', posix, 'unclear'],
    ['file:///proj/shop/a', '/proj/shop', posix, 'unclear'],
    // What some programs read as something else.
    ['/proj/shop/..\\..\\etc', '/proj/shop', posix, 'unclear'],
    ['/proj/shop/%2e%2e/%2e%2e/etc', '/proj/shop', posix, 'unclear'],
    ['/proj/shop/%2e%2e%2fx', '/proj/shop', posix, 'unclear'],
    ['/proj/shop/a%20b', '/proj/shop', posix, 'yes'],
    ['/proj/shop/\uff0e\uff0e/\uff0e\uff0e/etc', '/proj/shop', posix, 'unclear'],
    ['/proj/shop\uff0f..\uff0f..\uff0fetc', '/proj/shop', posix, 'no'],
    ['/proj/shop/\uff0f..\uff0f..\uff0fetc', '/proj/shop', posix, 'unclear'],
    ['/proj/shop/a\u0000.txt', '/proj/shop', posix, 'unclear'],
    ['/proj/shop/.\u200d./x', '/proj/shop', posix, 'unclear'],
    ['//proj/shop/a', '/proj/shop', posix, 'unclear'],
    // Case and accents.
    ['/Proj/shop/a', '/proj/shop', posix, 'unclear'],
    ['/Proj/SHOP/a', '/proj/shop', mac, 'yes'],
    ['/proj/caf\u00e9/a', '/proj/cafe\u0301', posix, 'unclear'],
    ['/proj/stra\u00dfe/a', '/proj/strasse', mac, 'unclear'],
    ['/proj/\u212aeys/a', '/proj/keys', mac, 'unclear'],
    // Windows.
    ['C:\\work\\shop\\a.txt', 'C:\\work\\shop', windows, 'yes'],
    ['c:/WORK/shop/a.txt', 'C:\\work\\shop', windows, 'yes'],
    ['C:\\work\\shop\\..\\other', 'C:\\work\\shop', windows, 'no'],
    ['D:\\work\\shop\\a', 'C:\\work\\shop', windows, 'no'],
    ['C:work\\shop\\a', 'C:\\work\\shop', windows, 'unclear'],
    ['\\work\\shop\\a', 'C:\\work\\shop', windows, 'unclear'],
    ['\\\\?\\C:\\work\\shop\\a', 'C:\\work\\shop', windows, 'yes'],
    ['\\\\?\\C:\\work\\shop.\\a', 'C:\\work\\shop', windows, 'unclear'],
    ['\\\\?\\C:/proj/shop/a', 'C:\\work\\shop', windows, 'unclear'],
    ['\\\\?\\C:\\work\\shop\\..\\x', 'C:\\work\\shop', windows, 'unclear'],
    ['\\\\.\\C:\\work\\shop\\a', 'C:\\work\\shop', windows, 'unclear'],
    ['\\\\server\\share\\shop\\a', '\\\\SERVER\\share\\shop', windows, 'yes'],
    ['\\\\server\\other\\shop\\a', '\\\\server\\share\\shop', windows, 'no'],
    ['\\\\?\\UNC\\server\\share\\shop\\a', '\\\\server\\share\\shop', windows, 'yes'],
    ['C:\\work\\SHOP~1\\a', 'C:\\work\\shop', windows, 'unclear'],
    ['C:\\PROGRA~1\\a', 'C:\\work\\shop', windows, 'unclear'],
    ['C:\\work\\shop\\a.txt:hidden', 'C:\\work\\shop', windows, 'unclear'],
    ['C:\\work\\shop\\a.txt::$DATA', 'C:\\work\\shop', windows, 'unclear'],
    ['C:\\work\\shop.\\a', 'C:\\work\\shop', windows, 'unclear'],
    ['C:\\work\\shop \\a', 'C:\\work\\shop', windows, 'unclear'],
    ['C:\\work\\shop\\...\\a', 'C:\\work\\shop', windows, 'unclear'],
    ['C:\\work\\shop\\NUL', 'C:\\work\\shop', windows, 'unclear'],
    ['C:\\work\\shop\\com1.txt', 'C:\\work\\shop', windows, 'unclear'],
    ['C:\\work\\shop\\a?.txt', 'C:\\work\\shop', windows, 'unclear'],
    ['C:\\work\\shop\\%TEMP%\\a', 'C:\\work\\shop', windows, 'unclear'],
    ['', '/proj', posix, 'unclear'],
  ];
  for (const [value, folder, files, expected] of table)
    it(`${JSON.stringify(value)} in ${folder}${files === mac ? ', case does not count' : ''}: ${expected}`, () =>
      assert.equal(verdict(value, folder, files), expected));

  it('takes relative paths only against a folder that the condition names', () => {
    assert.equal(verdict('src/a.ts', '/proj/shop', posix, '/proj/shop'), 'yes');
    assert.equal(verdict('../other/a.ts', '/proj/shop', posix, '/proj/shop'), 'no');
    assert.equal(verdict('src\\a.ts', 'C:\\work', windows, 'C:\\work'), 'yes');
    assert.equal(verdict('D:a.ts', 'C:\\work', windows, 'C:\\work'), 'unclear');
    assert.equal(verdict('\\a.ts', 'C:\\work', windows, 'C:\\work'), 'unclear');
  });

  it('refuses folders that are not plain', () => {
    for (const folder of ['work', '~/proj', '/proj/\u202e', '//proj']) assert.equal(parseFolder(folder, 'posix'), undefined, folder);
    for (const folder of ['work', 'C:work', '\\\\.\\C:\\work', 'C:\\work.', 'C:\\WORK~1'])
      assert.equal(parseFolder(folder, 'windows'), undefined, folder);
  });

  it('follows links on this machine, also those that point to nothing, and “..” behind them', function () {
    if (process.platform === 'win32') this.skip();
    const folder = temporaryFolder();
    try {
      const root = realpathSync(folder.path);
      for (const name of ['shop/src', 'other/deep']) mkdirSync(join(root, name), { recursive: true });
      writeFileSync(join(root, 'other/secret'), '');
      symlinkSync(join(root, 'other'), join(root, 'shop/link'));
      symlinkSync(join(root, 'other/deep'), join(root, 'shop/deep'));
      symlinkSync(join(root, 'other/not-yet'), join(root, 'shop/dangling'));
      symlinkSync(join(root, 'shop'), join(root, 'alias'));
      symlinkSync(join(root, 'circle-b'), join(root, 'circle-a'));
      symlinkSync(join(root, 'circle-a'), join(root, 'circle-b'));
      const files = remembered(localFiles());
      const of = (path: string) => verdict(join(root, 'x').slice(0, -1) + path, join(root, 'shop'), files);
      assert.equal(of('shop/src/new/file.ts'), 'yes');
      assert.equal(of('alias/src/a'), 'yes');
      assert.equal(of('shop/link/secret'), 'no');
      assert.equal(of('shop/dangling'), 'no');
      assert.equal(of('shop/dangling/x'), 'no');
      // By the text it is shop/secret, by the system other/secret.
      assert.equal(of('shop/deep/../secret'), 'unclear');
      assert.equal(of('circle-a/x'), 'unclear');
      assert.equal(verdict(join(root, 'alias/src'), join(root, 'alias'), files), 'yes');
    } finally {
      folder.remove();
    }
  });

  it('says “yes” only where the system agrees, whatever the path is made of', function () {
    if (process.platform === 'win32') this.skip();
    this.timeout(60_000);
    const folder = temporaryFolder();
    try {
      const root = realpathSync(folder.path);
      for (const name of ['in/a/b', 'out/a', 'IN']) mkdirSync(join(root, name), { recursive: true });
      symlinkSync('../out', join(root, 'in/l'));
      symlinkSync('../../out/a', join(root, 'in/a/m'));
      symlinkSync('../in', join(root, 'out/back'));
      const parts = fc.constantFrom(
        'in',
        'out',
        'a',
        'b',
        'l',
        'm',
        'back',
        '..',
        '.',
        '',
        'IN',
        'new',
        '%2e%2e',
        '..\\',
        'i\u006e',
        '\uff49n',
      );
      const files = localFiles();
      const parsed = parseFolder(join(root, 'in'), 'posix');
      assert.ok(parsed);
      fc.assert(
        fc.property(fc.array(parts, { maxLength: 8 }), (segments) => {
          const value = `${root}/${segments.join('/')}`;
          const said = below(value, parsed, files);
          const real = realOf(value);
          if (real === undefined) return;
          const inside = real === join(root, 'in') || real.startsWith(join(root, 'in') + sep);
          if (said === 'yes') assert.ok(inside, `${value} is ${real}`);
          if (said === 'no') assert.ok(!inside, `${value} is ${real}`);
        }),
        { seed: 7, numRuns: 3_000 },
      );
    } finally {
      folder.remove();
    }
  });

  it('never says “yes” to a Windows path that Windows takes elsewhere', () => {
    const part = fc.constantFrom(
      'work',
      'shop',
      'SHOP',
      'other',
      '..',
      '.',
      '',
      'a.txt',
      'shop.',
      'shop ',
      'SHOP~1',
      'a:b',
      '...',
      'con',
      '/..',
      'C:',
      '\u212aey',
    );
    const prefix = fc.constantFrom(
      'C:\\',
      'c:/',
      'D:\\',
      '\\\\?\\C:\\',
      '\\\\.\\C:\\',
      '\\\\server\\share\\',
      '\\\\?\\UNC\\server\\share\\',
      'C:',
      '\\',
      '',
    );
    fc.assert(
      fc.property(prefix, fc.array(part, { maxLength: 6 }), fc.constantFrom('\\', '/'), (start, segments, separator) => {
        const value = start + segments.join(separator);
        if (verdict(value, 'C:\\work\\shop', windows) !== 'yes') return;
        const resolved = win32.resolve('Z:\\nowhere', value).toLowerCase();
        assert.ok(resolved === 'c:\\work\\shop' || resolved.startsWith('c:\\work\\shop\\'), `${value} is ${resolved}`);
      }),
      { seed: 11, numRuns: 5_000 },
    );
  });
});

/** Where the system says an existing path leads. */
function realOf(path: string): string | undefined {
  try {
    return realpathSync.native(path);
  } catch {
    return undefined;
  }
}
