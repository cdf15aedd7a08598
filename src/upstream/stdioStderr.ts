import { StringDecoder } from 'node:string_decoder';
import { stripVTControlCharacters } from 'node:util';
import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/logger.ts';
import { visible } from '../common/text.ts';

/** Longest line of a server's error output that is looked at, bytes. */
const MAX_STDERR_LINE_BYTES = 16 * 1024;
/** What is shown of it, characters. */
const MAX_SHOWN_CHARACTERS = 1_000;
/** Lines that are logged in one {@link RATE_WINDOW_MS}; a flood is counted only. */
export const MAX_STDERR_LINES = 100;
const RATE_WINDOW_MS = 10_000;
/** What an error message quotes of the last lines, characters. */
const MAX_LAST_WORDS = 500;

/** Keeps the error output of a process in the log, with secrets taken out, within bounds, and remembers its last words. */
export class StderrLog {
  readonly #label: string;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #redact: (text: string) => string;
  readonly #decoder = new StringDecoder('utf8');
  #pending = '';
  #skipping = false;
  #last: string[] = [];
  #windowFrom: number;
  #inWindow = 0;
  #left = 0;

  constructor(label: string, logger: Logger, clock: Clock, redact: (text: string) => string) {
    this.#label = label;
    this.#logger = logger;
    this.#clock = clock;
    this.#redact = redact;
    this.#windowFrom = clock.monotonic();
  }

  push(chunk: Buffer): void {
    const lines = (this.#pending + this.#decoder.write(chunk)).split('\n');
    this.#pending = lines.pop() ?? '';
    const whole = lines.filter((line, i) => !(i === 0 && this.#skipping) && line.trim() !== '');
    if (lines.length > 0) this.#skipping = false;
    if (this.#pending.length > MAX_STDERR_LINE_BYTES) {
      if (!this.#skipping) whole.push(this.#pending);
      this.#skipping = true;
      this.#pending = '';
    }
    // Together, so that a secret of several lines is found.
    if (whole.length > 0) this.#keep(this.#redact(whole.join('\n')).split('\n'));
  }

  /** The process ended: what has no line feed yet is a line too. */
  end(): void {
    if (this.#pending.trim() !== '' && !this.#skipping) this.#keep(this.#redact(this.#pending).split('\n'));
    this.#pending = '';
    if (this.#left > 0) this.#logger.info(`[${this.#label}] … ${this.#left} more lines`);
    this.#left = 0;
  }

  /** The last lines for an error message, or ''. */
  lastWords(): string {
    const text = this.#last.join(' / ');
    return text.length <= MAX_LAST_WORDS ? text : `…${text.slice(-MAX_LAST_WORDS)}`;
  }

  /** The same as they came, for looking for what they mean. */
  lastLines(): readonly string[] {
    return this.#last;
  }

  #keep(lines: readonly string[]): void {
    const now = this.#clock.monotonic();
    if (now - this.#windowFrom >= RATE_WINDOW_MS) {
      if (this.#left > 0) this.#logger.info(`[${this.#label}] … ${this.#left} more lines`);
      this.#windowFrom = now;
      this.#inWindow = 0;
      this.#left = 0;
    }
    for (const line of lines) {
      const shown = visible(stripVTControlCharacters(line).trimEnd(), MAX_SHOWN_CHARACTERS);
      if (shown === '') continue;
      this.#last.push(shown);
      if (++this.#inWindow <= MAX_STDERR_LINES) this.#logger.info(`[${this.#label}] ${shown}`);
      else this.#left++;
    }
    this.#last = this.#last.slice(-20);
  }
}
