import assert from 'node:assert/strict';
import fc from 'fast-check';
import { UpstreamError } from '../../../src/common/errors.ts';
import { FIRST_BACKOFF_MS, MAX_BACKOFF_MS, Restarts } from '../../../src/upstream/restarts.ts';
import { resolveProgram, type ProgramFiles } from '../../../src/upstream/stdioCommand.ts';
import { minimalEnvironment, sshEnvironment } from '../../../src/upstream/stdioEnvironment.ts';
import { LineSplitter, MAX_STDIO_LINE_BYTES } from '../../../src/upstream/stdioLines.ts';
import { MAX_STDERR_LINES, StderrLog } from '../../../src/upstream/stdioStderr.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';
import { KeptLog } from '../../support/tunnels.ts';

describe('LineSplitter', () => {
  it('gives the same lines whatever the chunks are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('', '\r', 'x\r', '😀'))),
        fc.array(fc.integer({ min: 1, max: 9 })),
        (texts, cuts) => {
          const lines = texts.map((text) => text.replaceAll('\n', ''));
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
          const splitter = new LineSplitter();
          const found: string[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = cuts[i % (cuts.length || 1)] ?? bytes.length;
            for (const line of splitter.push(bytes.subarray(at, at + size))) found.push(line.toString());
            at += size;
          }
          assert.deepEqual(
            found,
            lines.map((line) => line.replace(/\r$/, '')).filter((line) => line !== ''),
          );
        },
      ),
      { seed: 7, numRuns: 300 },
    );
  });

  it('takes a line of exactly the cap, and none that is longer, before it has it all', () => {
    const splitter = new LineSplitter(10);
    assert.deepEqual(splitter.push(Buffer.from('0123456789\n')).map(String), ['0123456789']);
    assert.throws(() => splitter.push(Buffer.from('01234567890\n')), RangeError);
    splitter.push(Buffer.from('01234'));
    assert.throws(() => splitter.push(Buffer.from('567890')), RangeError);
    assert.equal(MAX_STDIO_LINE_BYTES, 16 * 1024 * 1024);
  });
});

describe('the environment of a command', () => {
  it('holds what programs need, and nothing of ours', () => {
    const own = {
      PATH: '/bin',
      HOME: '/home/a',
      LC_ALL: 'C',
      LC_TIME: 'de',
      TMPDIR: '/t',
      GITHUB_TOKEN: 'x',
      SSH_AUTH_SOCK: '/s',
      NODE_OPTIONS: '--inspect',
      path: '/other',
      SHELL: '() { :; }',
      TERM: undefined,
    };
    assert.deepEqual(minimalEnvironment(own, 'linux'), { PATH: '/bin', HOME: '/home/a', LC_ALL: 'C', LC_TIME: 'de', TMPDIR: '/t' });
  });

  it('on Windows takes names in any case', () =>
    assert.deepEqual(minimalEnvironment({ Path: 'C:\\x', SystemRoot: 'C:\\Windows', HOME: 'h', 'ProgramFiles(x86)': 'p' }, 'win32'), {
      Path: 'C:\\x',
      SystemRoot: 'C:\\Windows',
      'ProgramFiles(x86)': 'p',
    }));

  it('for ssh is the user’s own without the editor’s', () =>
    assert.deepEqual(
      sshEnvironment({ PATH: '/bin', SSH_AUTH_SOCK: '/s', VSCODE_PID: '1', ELECTRON_RUN_AS_NODE: '1', NODE_OPTIONS: 'x', A: undefined }),
      {
        PATH: '/bin',
        SSH_AUTH_SOCK: '/s',
      },
    ));
});

describe('resolveProgram', () => {
  const environment = { Path: 'C:\\empty;C:\\node;C:\\tools', PATHEXT: '.COM;.EXE;.BAT;.CMD;.VBS' };
  const npx =
    ':: Created by npm, please don\'t edit manually.\r\n@ECHO OFF\r\nSETLOCAL\r\nSET "NODE_EXE=%~dp0\\node.exe"\r\n' +
    'SET "NPX_CLI_JS=%~dp0\\node_modules\\npm\\bin\\npx-cli.js"\r\n"%NODE_EXE%" "%NPX_CLI_JS%" %*\r\n';
  const shim =
    '@ECHO off\r\nGOTO start\r\n:find_dp0\r\nSET dp0=%~dp0\r\nEXIT /b\r\n:start\r\nSETLOCAL\r\nCALL :find_dp0\r\n' +
    'endLocal & goto #_undefined_# 2>NUL || title %COMSPEC% & "%_prog%"  "%dp0%\\node_modules\\some-mcp\\dist\\index.js" %*\r\n';
  const texts: Record<string, string> = {
    'C:\\node\\node.exe': '',
    'C:\\node\\npx.cmd': npx,
    'C:\\tools\\some-mcp.cmd': shim,
    'C:\\tools\\other.bat': '@echo off\r\nstart other.exe %*\r\n',
    'C:\\tools\\server.exe': '',
  };
  const files: ProgramFiles = {
    read: (file) => texts[file.replace(/\.(CMD|EXE|BAT)$/, (e) => e.toLowerCase())],
    isFile: (file) => files.read(file) !== undefined,
  };
  const on = (file: string, ...args: string[]) => resolveProgram({ file, args }, environment, 'win32', files);

  it('leaves it to the system elsewhere', () =>
    assert.deepEqual(resolveProgram({ file: 'npx', args: ['a'] }, environment, 'linux', files), { file: 'npx', args: ['a'] }));

  it('finds programs along the PATH', () => {
    assert.match(on('server', 'a').file, /^C:\\tools\\server\.exe$/i);
    assert.match(on('server.exe').file, /^C:\\tools\\server\.exe$/);
    assert.equal(on('C:\\tools\\server.exe').file, 'C:\\tools\\server.exe');
    assert.equal(on('gone').file, 'gone');
  });

  it('starts the script of a batch file that npm made, with Node, without a shell', () => {
    assert.deepEqual(on('npx', '-y', 'a & calc'), {
      file: 'C:\\node\\node.exe',
      args: ['C:\\node\\node_modules\\npm\\bin\\npx-cli.js', '-y', 'a & calc'],
    });
    assert.deepEqual(on('some-mcp', '%PATH%'), { file: 'node.exe', args: ['C:\\tools\\node_modules\\some-mcp\\dist\\index.js', '%PATH%'] });
  });

  it('refuses any other batch file', () =>
    assert.throws(
      () => on('other'),
      (error: unknown) =>
        error instanceof UpstreamError && error.code === 'CULVERT_UPSTREAM_BATCH_FILE' && error.message.includes('starts no shell'),
    ));
});

describe('StderrLog', () => {
  let clock: ManualClock;
  let log: KeptLog;
  let stderr: StderrLog;
  const secret = madeUpSecret();
  beforeEach(() => {
    clock = new ManualClock();
    log = new KeptLog();
    stderr = new StderrLog('Peer', log, clock, (text) => text.replaceAll(secret, '[redacted]'));
  });

  it('logs whole lines, without secrets, colours and what is invisible', () => {
    const bytes = Buffer.from(`one ${secret} ä\n\u001b[31mred\u001b[0m \u202etwo\nhalf`);
    for (let i = 0; i < bytes.length; i += 3) stderr.push(bytes.subarray(i, i + 3));
    assert.deepEqual(log.lines, ['[Peer] one [redacted] ä', '[Peer] red \\u{202e}two']);
    stderr.end();
    assert.equal(log.lines.at(-1), '[Peer] half');
    assert.deepEqual(tracesIn(log.lines.join(), secret), []);
    assert.equal(stderr.lastWords(), 'one [redacted] ä / red \\u{202e}two / half');
  });

  it('finds a secret of several lines', () => {
    stderr = new StderrLog('Peer', log, clock, (text) => text.replaceAll(`-----BEGIN\n${secret}\nEND`, '[redacted]'));
    stderr.push(Buffer.from(`key:\n-----BEGIN\n${secret}\nEND\n`));
    assert.deepEqual(log.lines, ['[Peer] key:', '[Peer] [redacted]']);
  });

  it('bounds lines without end, floods, and what it quotes', () => {
    for (let i = 0; i < 100; i++) stderr.push(Buffer.alloc(10_000, 'x'));
    stderr.push(Buffer.from('end\nnext\n'));
    assert.equal(log.lines.length, 2);
    assert.ok(log.lines[0]!.length < 1_100);
    assert.equal(log.lines[1], '[Peer] next');
    for (let i = 0; i < 1_000; i++) stderr.push(Buffer.from(`n${i}\n`));
    assert.equal(log.lines.length, MAX_STDERR_LINES);
    clock.advance(10_000);
    stderr.push(Buffer.from('later\n'));
    assert.deepEqual(log.lines.slice(-2), [`[Peer] … ${1_002 - MAX_STDERR_LINES} more lines`, '[Peer] later']);
    stderr.push(Buffer.from(`${'y'.repeat(900)}\n`));
    assert.ok(stderr.lastWords().length <= 501);
  });
});

describe('Restarts', () => {
  it('let a start fail once for free, then wait twice as long each time, up to a bound', () => {
    const clock = new ManualClock();
    const restarts = new Restarts(clock);
    const error = new UpstreamError('CULVERT_UPSTREAM_EXITED', 'start', 'It exited.');
    restarts.admit();
    restarts.failed(error);
    restarts.admit();
    for (let wait = FIRST_BACKOFF_MS; ; wait *= 2) {
      restarts.failed(error);
      const bound = Math.min(wait, MAX_BACKOFF_MS);
      assert.throws(() => restarts.admit(), /It exited\. It failed \d+ times in a row/);
      clock.advance(bound - 1);
      assert.throws(() => restarts.admit());
      clock.advance(1);
      restarts.admit();
      if (wait > 4 * MAX_BACKOFF_MS) break;
    }
    restarts.worked();
    restarts.failed(error);
    restarts.admit();
  });
});
