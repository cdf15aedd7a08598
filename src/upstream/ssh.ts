import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, watch } from 'node:fs';
import net from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../common/clock.ts';
import type { Disposable } from '../common/disposable.ts';
import { UpstreamError, codeOf, messageOf } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import { MAX_SOCKET_PATH_BYTES } from '../common/runtimeFolder.ts';
import { killGroup, killOnExit } from './processGroup.ts';
import { Restarts } from './restarts.ts';
import { explainSsh, sshForwardArguments, type SshProgram } from './sshCommand.ts';
import { resolveProgram } from './stdioCommand.ts';
import { sshEnvironment, type Environment } from './stdioEnvironment.ts';
import { StderrLog } from './stdioStderr.ts';
import type { Upstream, UpstreamRequest, UpstreamResponse } from './upstream.ts';

/** Time for SSH to connect, be accepted, and open the way, milliseconds. */
export const SSH_READY_TIMEOUT_MS = 30_000;
/** Where the system does not tell that the socket is there, it is tried this often, milliseconds. */
const READY_CHECK_MS = 100;

/**
 * SSH has this long to end by itself after it was asked to, milliseconds. A signal can pass it by: it looks for one, and then sleeps until
 * the next sign of life is due, some seconds later.
 */
const SIGTERM_WAIT_MS = 2_000;
/** After the end of SSH, its last words are waited for this long, milliseconds. */
const EXIT_DRAIN_MS = 500;

/** What a way through SSH needs. */
export interface SshOptions {
  /** The server's name, for the log. */
  readonly label: string;
  readonly destination: string;
  /** What the far host sees. */
  readonly url: URL;
  readonly program: SshProgram;
  readonly environment: Environment | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** HTTP to a server that only a far host sees: SSH forwards a socket in a folder of our own. Connects anew when SSH has ended. */
export class SshUpstream implements Upstream {
  readonly #options: SshOptions;
  readonly #connect: (socketPath: string, host: string) => Upstream;
  readonly #restarts: Restarts;
  #way: Promise<SshForward> | undefined;
  #http: Upstream | undefined;
  #forward: SshForward | undefined;
  #disposed = false;

  /** `connect` makes the HTTP way over a socket; `host` is for messages. */
  constructor(options: SshOptions, connect: (socketPath: string, host: string) => Upstream) {
    this.#options = options;
    this.#connect = connect;
    this.#restarts = new Restarts(options.clock);
  }

  /** Sends a request over the forwarded socket. Throws UpstreamError. */
  async send(request: UpstreamRequest): Promise<UpstreamResponse> {
    const forward = await this.#open();
    const http = this.#http;
    if (this.#disposed || request.signal.aborted)
      throw new UpstreamError('CULVERT_UPSTREAM_ABORTED', 'request', 'The request was given up.');
    // It ended as soon as it was there.
    if (!http) throw forward.ended ?? new UpstreamError('CULVERT_UPSTREAM_ABORTED', 'request', 'The request was given up.');
    const refusals = forward.refusals;
    try {
      return await http.send(request);
    } catch (error) {
      // What SSH says of it was written before it closed the connection, but on another pipe.
      await new Promise((resolve) => setImmediate(resolve));
      const { destination, url } = this.#options;
      if (!(error instanceof UpstreamError) || error.code === 'CULVERT_UPSTREAM_ABORTED') throw error;
      if (forward.refusals > refusals)
        throw forward.prohibited
          ? new UpstreamError(
              'CULVERT_UPSTREAM_SSH_FORWARD',
              'ssh',
              `${destination} does not allow forwarding (AllowTcpForwarding in its sshd_config).`,
              {
                cause: error,
              },
            )
          : new UpstreamError(
              'CULVERT_UPSTREAM_REFUSED',
              'connect',
              `Nothing listens at ${url.host} on ${destination}. Check the port and that the server is running there.`,
              { cause: error },
            );
      if (forward.ended) throw forward.ended;
      throw error;
    }
  }

  /** Resolves once nothing is left of SSH. */
  async settled(): Promise<void> {
    await this.#forward?.over;
  }

  dispose(): void {
    this.#disposed = true;
    this.#http?.dispose();
    this.#forward?.dispose();
  }

  #open(): Promise<SshForward> {
    if (this.#disposed) return Promise.reject(new UpstreamError('CULVERT_UPSTREAM_ABORTED', 'request', 'The request was given up.'));
    this.#way ??= this.#start().catch((error: unknown) => {
      this.#way = undefined;
      throw error;
    });
    return this.#way;
  }

  async #start(): Promise<SshForward> {
    this.#restarts.admit();
    const forward = new SshForward(this.#options, () => {
      if (this.#forward !== forward) return;
      this.#way = undefined;
      this.#http?.dispose();
      this.#http = undefined;
    });
    this.#forward = forward;
    try {
      await forward.ready;
    } catch (error) {
      if (error instanceof UpstreamError) this.#restarts.failed(error);
      throw error;
    }
    this.#restarts.worked();
    // Let go, or ended, in the meantime.
    if (this.#disposed || this.#forward !== forward || forward.ended) return forward;
    this.#http = this.#connect(forward.socketPath, `${this.#options.url.host} on ${this.#options.destination}`);
    return forward;
  }
}

/** One `ssh` process that forwards a socket. */
class SshForward implements Disposable {
  readonly socketPath: string;
  /** Resolves once the socket takes connections; rejects with UpstreamError. */
  readonly ready: Promise<void>;
  /** Resolves once the process and the folder are gone. */
  readonly over: Promise<void>;
  /** How often the far host did not connect to the port. */
  refusals = 0;
  /** Whether it may not, the last time. */
  prohibited = false;
  /** Why it ended. */
  ended: UpstreamError | undefined;
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly #clock: Clock;
  #kill: Disposable | undefined;

  constructor({ label, destination, url, program, environment, clock, logger }: SshOptions, onEnd: () => void) {
    if (process.platform === 'win32')
      throw new UpstreamError(
        'CULVERT_UPSTREAM_SSH_WINDOWS',
        'ssh',
        'On Windows SSH can’t forward a private socket. Set the server up as a command over SSH instead.',
      );
    this.#clock = clock;
    this.#folder = mkdtempSync(join(Buffer.byteLength(tmpdir()) < MAX_SOCKET_PATH_BYTES - 30 ? tmpdir() : '/tmp', 'culvert-ssh-'));
    this.socketPath = join(this.#folder, 's');
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    const ownEnvironment = sshEnvironment(environment ?? process.env);
    const wanted = {
      file: program.file,
      args: [...program.args, ...sshForwardArguments(destination, this.socketPath, url.hostname, port)],
    };
    const { file, args } = resolveProgram(wanted, ownEnvironment);
    const stderr = new StderrLog(label, logger, clock, (text) => {
      for (const line of text.split('\n')) {
        const why = /^channel \d+: open failed: (.*)/.exec(line)?.[1];
        if (why === undefined) continue;
        this.refusals++;
        this.prohibited = why.startsWith('administratively prohibited');
      }
      return text;
    });
    const child = spawn(file, args, { cwd: homedir(), env: ownEnvironment, stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    this.#child = child;
    child.once('spawn', () => logger.info(`${label}: started ssh to ${destination} (process ${child.pid ?? 0}).`));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    const forget = killOnExit(child);
    const over = Promise.withResolvers<undefined>();
    this.over = over.promise;
    const finish = (error: UpstreamError) => {
      if (this.ended) return;
      this.ended = error;
      this.#kill?.dispose();
      forget();
      // A ProxyCommand may still be there.
      killGroup(child, 'SIGTERM');
      rmSync(this.#folder, { recursive: true, force: true });
      logger.info(`${label}: the SSH connection to ${destination} is closed.`);
      onEnd();
      over.resolve(undefined);
    };
    const end = Promise.withResolvers<never>();
    end.promise.catch(() => undefined);
    child.once('error', (error) => {
      if (child.pid !== undefined) return;
      finish(
        codeOf(error) === 'ENOENT'
          ? new UpstreamError(
              'CULVERT_UPSTREAM_SSH_MISSING',
              'ssh',
              'The program ssh was not found on the PATH. Install an OpenSSH client.',
              { cause: error },
            )
          : new UpstreamError('CULVERT_UPSTREAM_SSH_START', 'ssh', `ssh could not be started: ${messageOf(error)}.`, { cause: error }),
      );
      end.reject(this.ended);
    });
    const onClose = () => {
      stderr.end();
      finish(explainSsh(destination, 255, stderr.lastLines()) as UpstreamError);
      end.reject(this.ended);
    };
    // Its last words come first, unless something that it started keeps the pipe.
    child.once('close', onClose);
    child.once('exit', () => clock.after(EXIT_DRAIN_MS, onClose));
    this.ready = Promise.race([listening(this.#folder, this.socketPath, destination, clock, end.promise), end.promise]).catch(
      (error: unknown) => {
        this.dispose();
        throw error;
      },
    );
    this.ready.catch(() => undefined);
  }

  dispose(): void {
    if (this.ended || this.#kill) return;
    killGroup(this.#child, 'SIGTERM');
    this.#kill = this.#clock.after(SIGTERM_WAIT_MS, () => killGroup(this.#child, 'SIGKILL'));
  }
}

/** Resolves once the socket takes connections. Gives up at `end` or when time is over. */
function listening(folder: string, socketPath: string, destination: string, clock: Clock, end: Promise<never>): Promise<void> {
  return new Promise((resolve, reject) => {
    let trying = false;
    let timer: Disposable | undefined;
    const watcher = watch(folder, () => attempt());
    const late = clock.after(SSH_READY_TIMEOUT_MS, () =>
      done(() =>
        reject(
          new UpstreamError(
            'CULVERT_UPSTREAM_SSH_TIMEOUT',
            'timeout',
            `${destination} did not let us in over SSH within ${SSH_READY_TIMEOUT_MS / 1000} seconds. Check the network.`,
          ),
        ),
      ),
    );
    let over = false;
    const done = (then: () => void) => {
      if (over) return;
      over = true;
      watcher.close();
      timer?.dispose();
      late.dispose();
      then();
    };
    const attempt = () => {
      if (trying || over) return;
      trying = true;
      timer?.dispose();
      const socket = net.connect(socketPath);
      socket.once('connect', () => {
        socket.destroy();
        done(resolve);
      });
      socket.once('error', () => {
        trying = false;
        if (!over) timer = clock.after(READY_CHECK_MS, attempt);
      });
    };
    watcher.on('error', () => undefined);
    end.catch(() => done(() => undefined));
    attempt();
  });
}
