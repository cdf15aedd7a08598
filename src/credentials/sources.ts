import { createHmac, randomBytes } from 'node:crypto';
import type { Clock } from '../common/clock.ts';
import { Emitter, toDisposable, type Disposable } from '../common/disposable.ts';
import type { Credential } from './credential.ts';
import { refuseResolved } from './injection.ts';
import type { Secret } from './secret.ts';
import { CredentialError, type CredentialSource, type Refused, type Resolved, type SourceAsk } from './source.ts';

/** How long a source may take for one value, milliseconds: a command may ask the user for a fingerprint. */
export const RESOLVE_TIMEOUT_MS = 60_000;
/** After a failure the source is left alone for this long: agents repeat calls, and a command may ask the user each time. Milliseconds. */
export const FAILURE_REST_MS = 5_000;
/** A value that is kept at least this long is renewed while the old one is still used. Milliseconds. */
const PROACTIVE_FROM_MS = 30_000;
/** How long before its end at most, milliseconds; the moment itself is random, so that windows don't all ask at once. */
const PROACTIVE_MS = 60_000;

/** What is known about how a credential does. */
export interface Health {
  readonly state: 'valid' | 'invalid' | 'failed';
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly step?: string;
  /** For the user; without the value. */
  readonly detail?: string;
}

/** A source that failed, told once until it works again. */
export interface SourceFailure {
  readonly credential: Credential;
  readonly error: CredentialError;
}

interface Kept {
  readonly row: number;
  readonly resolved: Resolved;
  readonly renewAt: number;
}

interface Failed {
  readonly row: number;
  readonly error: CredentialError;
  readonly until: number;
}

const key = randomBytes(32);

/** A revision for a value that nobody counts: the same for the same value, says nothing about it, differs between windows. */
export function revisionOf(...values: readonly string[]): string {
  const hmac = createHmac('sha256', key);
  for (const value of values) hmac.update(`${value.length}:${value}`);
  return hmac.digest('base64url').slice(0, 22);
}

/** Kind of the source of a credential. */
export function sourceKindOf({ source }: Pick<Credential, 'source'>): string {
  return source?.kind ?? 'sealed';
}

/**
 * Gives values of credentials, from wherever they come. What was given is kept as long as its source said, so that a warm call waits for
 * nothing; one question at a time per credential and binding, however many calls wait for it.
 */
export class Sources implements Disposable {
  readonly #clock: Clock;
  readonly #recognise: (id: string, revision: string | number, secret: Secret) => void;
  readonly #sources = new Map<string, CredentialSource>();
  readonly #kept = new Map<string, Map<string, Kept>>();
  readonly #flights = new Map<string, Map<string, Promise<Resolved>>>();
  readonly #failed = new Map<string, Map<string, Failed>>();
  readonly #health = new Map<string, Health>();
  /** By credential: for what reason it was told to fail, and with which value. */
  readonly #told = new Map<string, { readonly code: string; readonly revision: string | number | undefined }>();
  readonly #changed = new Emitter<string>();
  readonly #failures = new Emitter<SourceFailure>();
  readonly #closing = new AbortController();

  /** Fires with a credential's id when what is known about it changed: its value, expiry, health. */
  readonly onDidChange = this.#changed.event;

  /** Fires when a credential's value can't be had, once until it can again or fails for another reason. */
  readonly onDidFail = this.#failures.event;

  /** `recognise` makes the inspector know a value; it is called before anybody gets it. */
  constructor(clock: Clock, recognise: (id: string, revision: string | number, secret: Secret) => void) {
    this.#clock = clock;
    this.#recognise = recognise;
  }

  /** Adds a source for its kind; the newest counts. */
  register(source: CredentialSource): Disposable {
    this.#sources.set(source.kind, source);
    return toDisposable(() => {
      if (this.#sources.get(source.kind) === source) this.#sources.delete(source.kind);
    });
  }

  /** The source of a credential. Throws CredentialError where there is none here, such as an editor's session without the editor. */
  sourceOf(credential: Credential): CredentialSource {
    const source = this.#sources.get(sourceKindOf(credential));
    if (source) return source;
    throw new CredentialError(
      'CULVERT_CREDENTIAL_NO_SOURCE',
      'source',
      `The value of “${credential.name}” comes from a place that this program can’t reach (${sourceKindOf(credential)}). Choose another source with “Culvert: Replace Credential…”.`,
      { action: 'replace' },
    );
  }

  /** The value of a credential for a request bound to `binding`; a value, not a promise, where it is known already. Throws CredentialError. */
  resolve(credential: Credential, binding: string, url: URL, signal?: AbortSignal): Resolved | Promise<Resolved> {
    if (!credential.origins.includes(binding)) throw this.#note(credential, otherOrigin(credential));
    const kept = this.#kept.get(credential.id)?.get(binding);
    if (kept?.row === credential.revision) {
      const now = this.#clock.now();
      if (kept.resolved.expiresAt === undefined || now < kept.resolved.expiresAt) {
        if (now >= kept.renewAt && !this.#flight(credential, binding)) this.#start(credential, binding, url).catch(() => undefined);
        return kept.resolved;
      }
    }
    const failed = this.#failed.get(credential.id)?.get(binding);
    if (failed?.row === credential.revision && this.#clock.now() < failed.until) throw failed.error;
    return until(this.#flight(credential, binding) ?? this.#start(credential, binding, url), signal);
  }

  /**
   * The value after `revision` was refused by the server: dropped and asked for anew, unless somebody did that already. Resolves to
   * `undefined` where the source has no other. Throws CredentialError.
   */
  async afterRefusal(
    credential: Credential,
    binding: string,
    url: URL,
    refused: Refused & { readonly revision: string | number },
    signal?: AbortSignal,
  ): Promise<Resolved | undefined> {
    if (!credential.origins.includes(binding)) throw this.#note(credential, otherOrigin(credential));
    const kept = this.#kept.get(credential.id)?.get(binding);
    if (kept && kept.resolved.revision !== refused.revision) return kept.resolved;
    let flight = this.#flight(credential, binding);
    if (!flight) {
      this.#kept.get(credential.id)?.delete(binding);
      flight = this.#start(credential, binding, url, refused);
    }
    const resolved = await until(flight, signal);
    return resolved.revision === refused.revision ? undefined : resolved;
  }

  /** Asks the source once, for a trial: nothing is kept, and a failure is told to nobody but the caller. Throws CredentialError. */
  async once(credential: Credential, binding: string, url: URL, signal: AbortSignal): Promise<Resolved> {
    if (!credential.origins.includes(binding)) throw otherOrigin(credential);
    return until(
      this.#ask(credential, binding, url, undefined).catch((error: unknown) => {
        throw asCredentialError(credential, error);
      }),
      signal,
    );
  }

  /** Forgets what was given for a credential; the next call asks its source. Streams that run carry on. */
  drop(id: string): void {
    const had = this.#kept.delete(id);
    this.#failed.delete(id);
    this.#flights.delete(id);
    if (had) this.#changed.fire(id);
  }

  /** What was given last and still counts, for showing. */
  held(id: string): Resolved | undefined {
    for (const { resolved } of this.#kept.get(id)?.values() ?? []) return resolved;
    return undefined;
  }

  health(id: string): Health | undefined {
    return this.#health.get(id);
  }

  /** Notes what a server or a test said about a credential. */
  noteHealth(id: string, health: Omit<Health, 'at'>): void {
    const before = this.#health.get(id);
    this.#health.set(id, { ...health, at: this.#clock.now() });
    if (before?.state !== health.state || before.detail !== health.detail) this.#changed.fire(id);
  }

  /** Notes that a server took a value that it, or its source, had trouble with before. */
  noteTaken(id: string): void {
    const before = this.#health.get(id);
    if (before && before.state !== 'valid') this.noteHealth(id, { state: 'valid' });
  }

  /** Gives back to the source what only this window holds. The next call gets a new value. Never throws. */
  async release(credential: Credential, signal: AbortSignal): Promise<void> {
    this.drop(credential.id);
    await this.#sources
      .get(sourceKindOf(credential))
      ?.release?.(credential, signal)
      .catch(() => undefined);
  }

  /** Takes back at the source what it ever gave, since the credential is forgotten. Never throws. */
  async revoke(credential: Credential, signal: AbortSignal): Promise<void> {
    await this.release(credential, signal);
    await this.#sources
      .get(sourceKindOf(credential))
      ?.revoke?.(credential, signal)
      .catch(() => undefined);
    this.#health.delete(credential.id);
    this.#told.delete(credential.id);
  }

  dispose(): void {
    this.#closing.abort();
    this.#kept.clear();
    this.#flights.clear();
    this.#changed.dispose();
    this.#failures.dispose();
  }

  #flight(credential: Credential, binding: string): Promise<Resolved> | undefined {
    return this.#flights.get(credential.id)?.get(`${credential.revision} ${binding}`);
  }

  #start(credential: Credential, binding: string, url: URL, refused?: Refused): Promise<Resolved> {
    const { id } = credential;
    const name = `${credential.revision} ${binding}`;
    const flights = this.#flights.get(id) ?? new Map<string, Promise<Resolved>>();
    this.#flights.set(id, flights);
    const flight: Promise<Resolved> = this.#ask(credential, binding, url, refused).then(
      (resolved) => {
        // Dropped meanwhile: whoever waits gets it, the next one asks again.
        if (flights.get(name) === flight && this.#flights.get(id) === flights) this.#keep(credential, binding, resolved);
        return resolved;
      },
      (error: unknown) => {
        const before = refused?.revision ?? this.#kept.get(id)?.get(binding)?.resolved.revision;
        const told = this.#note(credential, asCredentialError(credential, error), before);
        // A keyring may be asked at any time.
        if (this.#flights.get(id) === flights && sourceKindOf(credential) !== 'sealed') {
          const failed = this.#failed.get(id) ?? new Map<string, Failed>();
          this.#failed.set(id, failed.set(binding, { row: credential.revision, error: told, until: this.#clock.now() + FAILURE_REST_MS }));
        }
        throw told;
      },
    );
    flights.set(name, flight);
    const done = () => void flights.delete(name);
    flight.then(done, done);
    return flight;
  }

  async #ask(credential: Credential, binding: string, url: URL, refused: Refused | undefined): Promise<Resolved> {
    const source = this.sourceOf(credential);
    const limit = new AbortController();
    const timer = this.#clock.after(RESOLVE_TIMEOUT_MS, () => limit.abort());
    const signal = AbortSignal.any([limit.signal, this.#closing.signal]);
    const ask: SourceAsk = { credential, binding, url, signal, ...(refused ? { refused } : {}) };
    try {
      const resolved = await until(source.resolve(ask), signal, () => tooSlow(credential));
      if (resolved.nothing) return resolved;
      // What the user typed was looked at when they did.
      const problem = source.kind === 'sealed' ? undefined : refuseResolved(credential.placement, resolved);
      if (problem !== undefined)
        throw new CredentialError(
          'CULVERT_CREDENTIAL_VALUE',
          'value',
          `What the source of “${credential.name}” gave can’t be used. ${problem}`,
          {
            action: 'replace',
          },
        );
      this.#recognise(credential.id, resolved.revision, resolved.secret);
      for (const [name, part] of Object.entries(resolved.parts ?? {}))
        if (isTelling(part)) this.#recognise(credential.id, `${resolved.revision}.${name}`, part);
      return resolved;
    } finally {
      timer.dispose();
    }
  }

  #keep(credential: Credential, binding: string, resolved: Resolved): void {
    const { id, revision } = credential;
    const now = this.#clock.now();
    const lasts = (resolved.expiresAt ?? Number.POSITIVE_INFINITY) - now;
    const early = Math.min(PROACTIVE_MS, lasts / 5) * (0.5 + Math.random() / 2);
    const renewAt = lasts >= PROACTIVE_FROM_MS && Number.isFinite(lasts) ? now + lasts - early : Number.POSITIVE_INFINITY;
    const kept = this.#kept.get(id) ?? new Map<string, Kept>();
    const before = kept.get(binding)?.resolved;
    this.#kept.set(id, kept.set(binding, { row: revision, resolved, renewAt }));
    this.#failed.delete(id);
    // That a request goes out without a value, or with the last moments of the one that can't be renewed, does not mean that there is one
    // again: what was told stays told.
    const told = this.#told.get(id);
    if (!resolved.nothing && (told?.revision === undefined || told.revision !== resolved.revision)) {
      this.#told.delete(id);
      if (this.#health.get(id)?.state === 'failed') this.#health.delete(id);
    }
    if (before?.revision !== resolved.revision || before.validUntil !== resolved.validUntil) this.#changed.fire(id);
  }

  /** `revision`: of the value that there was before. */
  #note(credential: Credential, error: CredentialError, revision?: string | number): CredentialError {
    const { id } = credential;
    this.noteHealth(id, { state: 'failed', step: error.step, detail: error.message });
    const told = this.#told.get(id);
    if (told?.code !== error.code) {
      this.#told.set(id, { code: error.code, revision: error.action === 'sign-in' ? revision : undefined });
      this.#failures.fire({ credential, error });
    }
    return error;
  }
}

/** Parts that would be found in honest text are no secrets of their own. */
function isTelling(part: Secret): boolean {
  return part.expose().length >= 16;
}

function otherOrigin(credential: Credential): CredentialError {
  return new CredentialError(
    'CULVERT_CREDENTIAL_ORIGIN',
    'binding',
    `“${credential.name}” is not bound to where the server is now, so it was not sent. Bind it with “Culvert: Edit Server…”.`,
    { action: 'edit' },
  );
}

function tooSlow(credential: Credential): CredentialError {
  return new CredentialError(
    'CULVERT_CREDENTIAL_SLOW',
    'source',
    `The source of “${credential.name}” gave nothing within ${RESOLVE_TIMEOUT_MS / 1000} seconds. Try it with “Culvert: Test Credential…”.`,
  );
}

/** What a source threw that is not ours may quote anything: its words are left out. */
function asCredentialError(credential: Credential, error: unknown): CredentialError {
  if (error instanceof CredentialError) return error;
  return new CredentialError(
    'CULVERT_CREDENTIAL_FAILED',
    'source',
    `The source of “${credential.name}” failed (${error instanceof Error ? error.name : 'unknown error'}). Try it with “Culvert: Test Credential…”.`,
  );
}

/** The same promise, but given up when `signal` is: the work itself goes on for others. */
function until<T>(work: Promise<T>, signal: AbortSignal | undefined, why: () => Error = givenUp): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const stop = () => reject(why());
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    const done = () => signal.removeEventListener('abort', stop);
    work.then(
      (value) => {
        done();
        resolve(value);
      },
      (error: unknown) => {
        done();
        reject(error instanceof Error ? error : new Error('unknown error'));
      },
    );
  });
}

function givenUp(): CredentialError {
  return new CredentialError('CULVERT_CREDENTIAL_ABORTED', 'source', 'The call was given up before its credential was there.');
}
