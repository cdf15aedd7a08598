import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { SshProgram } from '../../src/upstream/sshCommand.ts';
import { temporaryFolder } from './folders.ts';

const SSHD = ['/usr/sbin/sshd', '/usr/local/sbin/sshd', '/usr/libexec/sshd'].find((file) => existsSync(file));

/** Why there can be no far host on this machine, or `undefined`. */
export const NO_SSHD =
  SSHD === undefined || spawnSync('ssh', ['-V']).status !== 0
    ? 'OpenSSH’s server is not installed (Debian: apt-get install openssh-server)'
    : undefined;

/**
 * A far host: OpenSSH's own server on a port of this machine, for this user, with keys and a configuration of its own. Nothing of the
 * machine's or the user's SSH is read or written.
 */
export class FarHost {
  readonly #folder = temporaryFolder();
  readonly #servers: ChildProcess[] = [];
  #config = '';

  /** Makes the keys and starts a server. */
  async start(): Promise<this> {
    for (const name of ['host', 'other-host', 'user', 'other-user'])
      spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', this.#path(name)]);
    writeFileSync(this.#path('authorized'), this.#read('user.pub'));
    const port = await this.#serve('');
    writeFileSync(this.#path('known'), `[127.0.0.1]:${port} ${this.#read('host.pub')}`);
    writeFileSync(this.#path('known-as-other'), `[127.0.0.1]:${port} ${this.#read('other-host.pub')}`);
    writeFileSync(this.#path('known-none'), '');
    this.alias('devbox', { Port: port });
    this.alias('stranger', { Port: port, UserKnownHostsFile: this.#path('known-none') });
    this.alias('changed', { Port: port, UserKnownHostsFile: this.#path('known-as-other') });
    this.alias('denied', { Port: port, IdentityFile: this.#path('other-user') });
    this.alias('nowhere', { HostName: 'culvert.invalid' });
    this.alias('closed', { Port: await freePort() });
    return this;
  }

  /** Starts another server, whose configuration begins with `lines`, under the name `alias`. */
  async also(alias: string, lines: string): Promise<void> {
    const port = await this.#serve(lines);
    writeFileSync(this.#path(`known-${alias}`), `[127.0.0.1]:${port} ${this.#read('host.pub')}`);
    this.alias(alias, { Port: port, UserKnownHostsFile: this.#path(`known-${alias}`) });
  }

  /** Adds a host to the user's configuration. */
  alias(name: string, options: Readonly<Record<string, string | number>>): void {
    const all = {
      HostName: '127.0.0.1',
      User: userInfo().username,
      IdentityFile: this.#path('user'),
      IdentitiesOnly: 'yes',
      IdentityAgent: 'none',
      UserKnownHostsFile: this.#path('known'),
      GlobalKnownHostsFile: '/dev/null',
      StrictHostKeyChecking: 'ask',
      ...options,
    };
    this.#config += `Host ${name}\n${Object.entries(all)
      .map(([key, value]) => `  ${key} ${value}\n`)
      .join('')}`;
    writeFileSync(this.#path('config'), this.#config);
  }

  /** `ssh` with the user's configuration. */
  get program(): SshProgram {
    return { file: 'ssh', args: ['-F', this.#path('config')] };
  }

  /** A folder in which `ssh` is just that, for the front of a PATH. */
  get bin(): string {
    const folder = this.#path('bin');
    mkdirSync(folder, { recursive: true });
    const real = spawnSync('sh', ['-c', 'command -v ssh']).stdout.toString().trim();
    if (!existsSync(join(folder, 'ssh'))) writeFileSync(join(folder, 'ssh'), `#!/bin/sh\nexec ${real} -F ${this.#path('config')} "$@"\n`);
    chmodSync(join(folder, 'ssh'), 0o755);
    return folder;
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      if (server.exitCode !== null) continue;
      server.kill('SIGTERM');
      await once(server, 'exit');
    }
    this.#folder.remove();
  }

  async #serve(lines: string): Promise<number> {
    // Where the privileged part of the server keeps nothing; only root needs it.
    if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    const port = await freePort();
    const file = this.#path(`sshd-${port}`);
    writeFileSync(
      file,
      `${lines}\nListenAddress 127.0.0.1\nPort ${port}\nHostKey ${this.#path('host')}\nAuthorizedKeysFile ${this.#path('authorized')}\n` +
        'PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n' +
        'PrintMotd no\nPrintLastLog no\nMaxStartups 100\n',
    );
    const server = spawn(SSHD ?? '', ['-D', '-e', '-f', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#servers.push(server);
    let said = '';
    await new Promise<void>((resolve, reject) => {
      server.stderr.on('data', (text: Buffer) => {
        said += text.toString();
        if (said.includes('Server listening')) resolve();
      });
      server.once('exit', () => reject(new Error(`sshd ended: ${said}`)));
    });
    return port;
  }

  #path(name: string): string {
    return join(this.#folder.path, name);
  }

  #read(name: string): string {
    return readFileSync(this.#path(name), 'utf8');
  }
}

/** A port of this machine on which nothing listens. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
