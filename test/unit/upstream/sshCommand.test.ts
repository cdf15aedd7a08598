import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import type { CommandPlace } from '../../../src/mcp/server.ts';
import { explainSsh, remoteCommand, sshCommandArguments, sshForwardArguments, sshLaunch } from '../../../src/upstream/sshCommand.ts';
import { temporaryFolder } from '../../support/folders.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';

const SHOW =
  'process.stdout.write(JSON.stringify({args:process.argv.slice(1),cwd:process.cwd(),env:process.env,rest:require("fs").readFileSync(0,"utf8")}))';
const place = (part: Partial<CommandPlace> = {}): CommandPlace => ({
  kind: 'stdio',
  command: process.execPath,
  args: ['-e', SHOW, '--'],
  ...part,
});

interface Shown {
  readonly args: string[];
  readonly cwd: string;
  readonly env: Record<string, string>;
  readonly rest: string;
}

describe('remoteCommand', function () {
  this.timeout(90_000);
  const shells = ['sh', 'bash', 'dash'].filter((shell) => spawnSync(shell, ['-c', ':']).status === 0);
  /** What the program sees when a far shell reads the line, as sshd has it do. */
  const run = (shell: string, part: Partial<CommandPlace>, secrets: Record<string, string> = {}): Shown => {
    const { line, preface } = remoteCommand(place(part), secrets);
    const done = spawnSync(shell, ['-c', line], {
      input: `${preface?.toString() ?? ''}{"first":"message"}\n`,
      env: { PATH: process.env['PATH'], HOME: '/nonexistent' },
    });
    assert.equal(done.stderr.toString(), '');
    return JSON.parse(done.stdout.toString()) as Shown;
  };

  for (const shell of shells)
    it(`is exact in ${shell}`, () => {
      const folder = temporaryFolder();
      const inner = join(folder.path, "it's in $HERE");
      mkdirSync(inner);
      const strange = ['', ' a  b ', '$HOME `id` $(id)', "'", '"', '\\', '\\n', 'line\nbreak', '*', '~', '!x', '-n', 'ä😀', ';', '&', '|'];
      const secret = madeUpSecret();
      const values = { ONE: secret, TWO: ` ${secret}\\n $x \\`, THREE: `a\n${secret}\n\nb\n`, FOUR: '' };
      const shown = run(
        shell,
        { args: [...place().args, ...strange], folder: inner, environment: { PLAIN: "it's $X", ONE: 'not this' } },
        values,
      );
      assert.deepEqual(shown.args, strange);
      assert.equal(shown.cwd, inner);
      assert.equal(shown.env['PLAIN'], "it's $X");
      for (const [name, value] of Object.entries(values)) assert.equal(shown.env[name], value, name);
      assert.deepEqual(
        Object.keys(shown.env).filter((name) => name.startsWith('culvert')),
        [],
      );
      assert.equal(shown.rest, '{"first":"message"}\n');
      assert.deepEqual(run(shell, { args: [...place().args, 'x'] }).args, ['x']);
      folder.remove();
    });

  it('brings any argument and any secret through', () => {
    const text = fc.string({ unit: 'binary', maxLength: 40 }).map((t) => t.replaceAll('\0', ''));
    fc.assert(
      fc.property(fc.array(text, { maxLength: 4 }), text, (args, value) => {
        const shown = run('sh', { args: [...place().args, ...args] }, { SECRET: value });
        assert.deepEqual(shown.args, args);
        assert.equal(shown.env['SECRET'], value);
      }),
      { seed: 3, numRuns: 40 },
    );
  });

  it('has no secret in any argument, and shows none in the list of processes', async () => {
    const secret = madeUpSecret();
    const { line, preface } = remoteCommand(place({ args: ['-e', 'setInterval(()=>{},1000);console.log("up")'] }), { TOKEN: secret });
    assert.deepEqual(tracesIn(line, secret), []);
    assert.ok(tracesIn(preface!, secret).length > 0);
    const child = spawn('sh', ['-c', line], { stdio: ['pipe', 'pipe', 'inherit'] });
    const listed: string[] = [spawnSync('ps', ['-ww', '-eo', 'args']).stdout.toString()];
    child.stdin.write(preface!);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    listed.push(spawnSync('ps', ['-ww', '-eo', 'args']).stdout.toString());
    child.kill('SIGKILL');
    assert.ok(listed[1]!.includes('setInterval'));
    assert.deepEqual(tracesIn(listed.join(), secret), []);
  });
});

describe('the arguments of ssh', () => {
  it('take the destination for no option, and ask nothing', () => {
    for (const args of [sshCommandArguments('devbox', 'exec x'), sshForwardArguments('devbox', '/tmp/s', '127.0.0.1', '3001')]) {
      assert.equal(args[args.indexOf('--') + 1], 'devbox');
      assert.ok(args.includes('BatchMode=yes'));
      assert.ok(args.includes('-T'));
    }
    assert.deepEqual(sshCommandArguments('devbox', 'exec x').slice(-2), ['devbox', 'exec x']);
    assert.ok(sshForwardArguments('devbox', '/tmp/s', '[::1]', '3001').includes('/tmp/s:[::1]:3001'));
    assert.ok(sshForwardArguments('devbox', '/tmp/s', '[::1]', '3001').includes('ExitOnForwardFailure=yes'));
  });

  it('hold no secret, and neither does the environment', () => {
    const secret = madeUpSecret();
    const launch = sshLaunch(
      place(),
      'devbox',
      { environment: { TOKEN: secret } },
      { file: 'ssh', args: ['-F', 'x'] },
      { PATH: '/bin', HOME: '/h' },
    );
    assert.deepEqual(launch.args.slice(0, 2), ['-F', 'x']);
    assert.deepEqual(tracesIn(JSON.stringify([launch.args, launch.environment]), secret), []);
    assert.equal(launch.preface?.toString(), `${secret}\n`);
  });
});

describe('explainSsh', () => {
  for (const [line, code, words] of [
    ['Host key verification failed.', 'CULVERT_UPSTREAM_SSH_HOST_KEY', /not known yet\. Run ssh me@box once/],
    ['No ED25519 host key is known for box and you have requested strict checking.', 'CULVERT_UPSTREAM_SSH_HOST_KEY', /not known yet/],
    ['@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @', 'CULVERT_UPSTREAM_SSH_HOST_KEY_CHANGED', /somebody may be in between/],
    ['me@box: Permission denied (publickey,password).', 'CULVERT_UPSTREAM_SSH_DENIED', /ssh-add/],
    ['ssh: Could not resolve hostname box: Name or service not known', 'CULVERT_UPSTREAM_SSH_NOT_FOUND', /There is no host me@box/],
    ['ssh: connect to host box port 22: Connection refused', 'CULVERT_UPSTREAM_SSH_REFUSED', /Check the port/],
    ['ssh: connect to host box port 22: Connection timed out', 'CULVERT_UPSTREAM_SSH_UNREACHABLE', /can’t be reached/],
    ['/h/.ssh/config: line 3: Bad configuration option: hots', 'CULVERT_UPSTREAM_SSH_CONFIGURATION', /correct what it names/],
    ['Error: remote port forwarding failed for listen path', 'CULVERT_UPSTREAM_SSH_FORWARD', /could not forward/],
    ['Timeout, server box not responding.', 'CULVERT_UPSTREAM_SSH_ENDED', /connection to me@box ended/],
  ] as const)
    it(`knows “${line}”`, () => {
      const error = explainSsh('me@box', 255, ['something', line]);
      assert.ok(error);
      assert.equal(error.code, code);
      assert.equal(error.leg, 'ssh');
      assert.match(error.message, words);
      assert.ok(error.message.includes(line.slice(0, 40)));
    });

  it('tells the end of the far command from that of ssh', () => {
    assert.equal(explainSsh('box', 1, ['cannot open: Permission denied (publickey)']), undefined);
    assert.equal(explainSsh('box', null, []), undefined);
    assert.match(explainSsh('box', 127, ['sh: 1: exec: npx: not found'], 'npx')?.message ?? '', /npx was not found on box/);
  });
});
