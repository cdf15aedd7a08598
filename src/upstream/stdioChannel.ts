import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { statSync } from 'node:fs';
import type { Clock } from '../common/clock.ts';
import type { Disposable } from '../common/disposable.ts';
import { UpstreamError, codeOf, messageOf } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import { visible } from '../common/text.ts';
import type { ChannelReader, MessageChannel, OpenChannel } from './channel.ts';
import { isAlive, killGroup, killOnExit } from './processGroup.ts';
import { Restarts, START_GRACE_MS } from './restarts.ts';
import { LineSplitter, MAX_STDIO_LINE_BYTES } from './stdioLines.ts';
import { StderrLog } from './stdioStderr.ts';
import type { UpstreamRequest } from './upstream.ts';

/** A server has this long to end after its input was closed, and again after SIGTERM, before it is killed. Milliseconds. */
export const STDIN_CLOSED_WAIT_MS = 2_000;
export const SIGTERM_WAIT_MS = 2_000;
/** After the end of a process, what it wrote is read for this long: a child of its own may hold the pipe open. Milliseconds. */
const EXIT_DRAIN_MS = 500;
/** How often is looked whether anything is left of an ended process, milliseconds. */
const GROUP_CHECK_MS = 50;
/** What may wait for a server that does not read its input, bytes. */
export const MAX_UNREAD_INPUT_BYTES = 16 * 1024 * 1024;
/** Lines that are no message and are logged; the rest of them is counted. */
const MAX_LOGGED_JUNK = 20;

/** What is started for a channel. */
export interface Launch {
  readonly file: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  /** What the process reads before the first message; may hold secrets. */
  readonly preface?: Buffer;
  /** Values that must not be seen in what the process writes about itself. */
  readonly secrets: readonly string[];
}

/** What {@link stdioOpener} needs. */
export interface StdioOptions {
  /** The server's name, for the log. */
  readonly label: string;
  /** The command as people know it, for messages. */
  readonly command: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** What to start, with the secrets of this request. Throws UpstreamError. */
  launch(request: UpstreamRequest): Launch | Promise<Launch>;
  redact(text: string): string;
  /** What an end with this code means, if the last lines of its error output tell; else `undefined`. */
  explain?(code: number | null, lastLines: readonly string[]): UpstreamError | undefined;
}

/** Opens channels to processes that speak over their standard input and output, one message a line (2025-11-25, stdio). */
export function stdioOpener(options: StdioOptions): OpenChannel {
  const restarts = new Restarts(options.clock);
  return async (request, reader) => {
    restarts.admit();
    const launch = await options.launch(request);
    const channel = new StdioChannel(launch, options, restarts, reader);
    await channel.started;
    return { channel };
  };
}

class StdioChannel implements MessageChannel {
  /** Resolves when the process runs; rejects with UpstreamError. */
  readonly started: Promise<void>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #options: StdioOptions;
  readonly #restarts: Restarts;
  readonly #stderr: StderrLog;
  readonly #splitter = new LineSplitter();
  readonly #startedAt: number;
  readonly #over = Promise.withResolvers<undefined>();
  #reader: ChannelReader | undefined;
  #spoke = false;
  #junk = 0;
  #exit: { readonly code: number | null; readonly signal: NodeJS.Signals | null } | undefined;
  #outputEnded = false;
  #finished = false;
  #closing = false;
  #drained: Promise<void> | undefined;
  #timer: Disposable | undefined;

  constructor(launch: Launch, options: StdioOptions, restarts: Restarts, reader: ChannelReader) {
    this.#options = options;
    this.#restarts = restarts;
    this.#reader = reader;
    this.#startedAt = options.clock.monotonic();
    const secrets = launch.secrets.filter((secret) => secret.length > 3);
    this.#stderr = new StderrLog(options.label, options.logger, options.clock, (text) =>
      options.redact(secrets.reduce((shown, secret) => shown.replaceAll(secret, '[redacted]'), text)),
    );
    // A group of its own, so that what it starts ends with it: package runners are not the server themselves.
    const child = spawn(launch.file, launch.args, {
      cwd: launch.folder,
      env: launch.environment,
      stdio: ['pipe', 'pipe', 'pipe'],
      shell: false,
      detached: process.platform !== 'win32',
      windowsHide: true,
    });
    this.#child = child;
    const forget = killOnExit(child);
    void this.#over.promise.then(forget);
    this.started = new Promise((resolve, reject) => {
      child.once('spawn', () => {
        options.logger.info(`${options.label}: started ${options.command} (process ${child.pid ?? 0}).`);
        resolve();
      });
      child.once('error', (error) => {
        if (child.pid !== undefined) return;
        const refused = notStarted(error, launch, options.command);
        this.#restarts.failed(refused);
        this.#reader = undefined;
        this.#finished = true;
        this.#over.resolve(undefined);
        reject(refused);
      });
    });
    this.started.catch(() => undefined);
    child.stdout.on('data', (chunk: Buffer) => this.#read(chunk));
    child.stdout.once('close', () => {
      this.#outputEnded = true;
      if (this.#exit) this.#finish();
      else if (!this.#closing && child.pid !== undefined) this.#endBecause(this.#error(' closed its output'), EXIT_DRAIN_MS);
    });
    child.stderr.on('data', (chunk: Buffer) => this.#stderr.push(chunk));
    child.stdin.on('error', () => {
      // A process that ends takes its input with it; that is told in a moment.
      if (child.exitCode === null && child.signalCode === null && !this.#closing)
        this.#endBecause(this.#error(' closed its input'), EXIT_DRAIN_MS);
    });
    child.once('exit', (code, signal) => {
      this.#exit = { code, signal };
      if (this.#outputEnded) this.#finish();
      else options.clock.after(EXIT_DRAIN_MS, () => this.#finish());
    });
    if (launch.preface) child.stdin.write(launch.preface);
  }

  async send(message: Buffer): Promise<undefined> {
    const { stdin } = this.#child;
    if (this.#finished || this.#closing || !stdin.writable) throw this.#error(' is not running any more');
    if (stdin.writableLength + message.length > MAX_UNREAD_INPUT_BYTES)
      throw new UpstreamError(
        'CULVERT_UPSTREAM_NOT_READING',
        'request',
        `${this.#options.command} does not read what it is sent. It seems to hang; the user can restart it by disabling and enabling the server.`,
      );
    if (!stdin.write(asLine(message)))
      this.#drained ??= new Promise((resolve) => {
        const done = () => {
          stdin.off('drain', done).off('close', done);
          this.#drained = undefined;
          resolve();
        };
        stdin.once('drain', done).once('close', done);
      });
    await this.#drained;
    return undefined;
  }

  pause(): void {
    this.#child.stdout.pause();
  }

  resume(): void {
    this.#child.stdout.resume();
  }

  close(): Promise<void> {
    this.#reader = undefined;
    if (!this.#closing && !this.#finished) {
      this.#closing = true;
      // What nobody reads must not keep it from ending.
      this.#child.stdout.resume();
      this.#child.stdin.end();
      this.#timer = this.#options.clock.after(STDIN_CLOSED_WAIT_MS, () => this.#terminate());
    }
    return this.#over.promise;
  }

  #terminate(): void {
    killGroup(this.#child, 'SIGTERM');
    this.#timer = this.#options.clock.after(SIGTERM_WAIT_MS, () => killGroup(this.#child, 'SIGKILL'));
  }

  #read(chunk: Buffer): void {
    if (!this.#reader) return;
    let lines: Buffer[];
    try {
      lines = this.#splitter.push(chunk);
    } catch {
      this.#endBecause(
        new UpstreamError(
          'CULVERT_UPSTREAM_LINE',
          'response',
          `${this.#options.command} wrote a line of more than ${MAX_STDIO_LINE_BYTES / 1024 / 1024} MiB, so it was ended.`,
        ),
      );
      return;
    }
    for (const line of lines) {
      // Closed by what a line before it said.
      const reader = this.#reader as ChannelReader | undefined;
      if (!reader) return;
      if (reader.message(line)) {
        this.#spoke = true;
        this.#restarts.worked();
      } else if (++this.#junk <= MAX_LOGGED_JUNK) {
        const text = visible(this.#options.redact(line.toString('utf8', 0, 2_000)), 200);
        this.#options.logger.warn(`${this.#options.label} wrote a line that is no message, which was left out: ${text}`);
      }
    }
  }

  /** Ends a process that is of no use any more. */
  #endBecause(error: UpstreamError, afterMs = 0): void {
    const tell = () => {
      const reader = this.#reader;
      void this.close();
      reader?.closed(error);
    };
    // Its exit code would say more.
    if (afterMs > 0 && !this.#timer) this.#timer = this.#options.clock.after(afterMs, tell);
    else tell();
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#timer?.dispose();
    this.#stderr.end();
    const { label, logger, clock } = this.#options;
    if (this.#junk > MAX_LOGGED_JUNK) logger.warn(`${label} wrote ${this.#junk} lines that are no messages.`);
    // What it started itself may still be there.
    killGroup(this.#child, 'SIGTERM');
    this.#awaitGroup(clock.monotonic() + SIGTERM_WAIT_MS);
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
    this.#child.stdin.destroy();
    const early = !this.#spoke && clock.monotonic() - this.#startedAt < START_GRACE_MS;
    const error =
      this.#options.explain?.(this.#exit?.code ?? null, this.#stderr.lastLines()) ??
      this.#error(`${this.#how()}${early ? ' right after its start' : ''}`, early);
    if (early && !this.#closing) this.#restarts.failed(error);
    logger.info(`${label}: process ${this.#child.pid ?? 0}${this.#how()}.`);
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.closed(error);
  }

  /** Nothing tells when the last of a group has ended. */
  #awaitGroup(until: number): void {
    const { clock } = this.#options;
    if (clock.monotonic() >= until) killGroup(this.#child, 'SIGKILL');
    else if (isAlive(this.#child)) {
      clock.after(GROUP_CHECK_MS, () => this.#awaitGroup(until));
      return;
    }
    this.#over.resolve(undefined);
  }

  #how(): string {
    const { code = null, signal = null } = this.#exit ?? {};
    return signal === null ? ` exited with code ${code ?? 'unknown'}` : ` was ended by ${signal}`;
  }

  #error(what: string, early = false): UpstreamError {
    const words = this.#stderr.lastWords();
    const after = early ? '' : ' The call may or may not have been carried out.';
    return new UpstreamError(
      'CULVERT_UPSTREAM_EXITED',
      early ? 'start' : 'response',
      `${this.#options.command}${what}.${after}${words === '' ? '' : ` Its last words: ${words}`}`,
    );
  }
}

const LINE_FEED = Buffer.from('\n');

/** Between the parts of a message a line break means nothing (RFC 8259, 2), but here it would end the message: it becomes a space. */
function asLine(message: Buffer): Buffer {
  const line = Buffer.concat([message, LINE_FEED]);
  if (message.includes(0x0a) || message.includes(0x0d))
    for (let i = 0; i < message.length; i++) if (line[i] === 0x0a || line[i] === 0x0d) line[i] = 0x20;
  return line;
}

function notStarted(error: Error, launch: Launch, command: string): UpstreamError {
  const code = codeOf(error);
  const cause = { cause: error };
  if (code === 'ENOENT' && !statSync(launch.folder, { throwIfNoEntry: false })?.isDirectory())
    return new UpstreamError(
      'CULVERT_UPSTREAM_FOLDER',
      'start',
      `The folder ${launch.folder} does not exist. Set another with “Culvert: Edit Server…”.`,
      cause,
    );
  if (code === 'ENOENT')
    return new UpstreamError(
      'CULVERT_UPSTREAM_NO_COMMAND',
      'start',
      /[\\/]/.test(launch.file)
        ? `There is no program ${command}. Check the path with “Culvert: Edit Server…”.`
        : `The command ${command} was not found on the PATH. Install it, or give its full path with “Culvert: Edit Server…”.`,
      cause,
    );
  if (code === 'EACCES' || code === 'EPERM')
    return new UpstreamError(
      'CULVERT_UPSTREAM_NOT_EXECUTABLE',
      'start',
      `${command} may not be run. Check that it is a program, and its permissions.`,
      cause,
    );
  return new UpstreamError('CULVERT_UPSTREAM_START', 'start', `${command} could not be started: ${messageOf(error)}.`, cause);
}
