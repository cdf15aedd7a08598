import type { Clock } from '../../common/clock.ts';
import type { Disposable } from '../../common/disposable.ts';
import type { Database } from '../../store/database.ts';
import type { SecretStore } from '../vault.ts';
import { PendingSignIn, SIGN_IN_LIMIT_MS, pendingKey } from './codeFlow.ts';

const PREFIX = 'culvert.sign-in.';
/** How often the window that began a sign-in looks whether another one finished it, milliseconds. */
const LOOK_MS = 250;

/** What came of a sign-in, for the window that began it. */
export type SignInEnd = { readonly ok: true } | { readonly ok: false; readonly message: string };

/**
 * Sign-ins under way, of all windows: the browser may come back to another window than the one that sent it out. What finishing takes lies in
 * SecretStorage; that each is finished once is decided by the database.
 */
export class PendingSignIns {
  readonly #db: Database;
  readonly #secrets: SecretStore;
  readonly #clock: Clock;

  constructor(db: Database, secrets: SecretStore, clock: Clock) {
    this.#db = db;
    this.#secrets = secrets;
    this.#clock = clock;
  }

  /** Keeps a sign-in and gives the id under which its end is looked for. */
  async keep(pending: PendingSignIn): Promise<string> {
    await this.sweep();
    const id = pendingKey(pending.state);
    await this.#secrets.store(PREFIX + id, JSON.stringify(pending));
    this.#db.run('INSERT INTO oauth_pending (id, begun_at, result) VALUES (?, ?, NULL)', id, this.#clock.now());
    return id;
  }

  /** The sign-in with this `state`, once: `undefined` if there is none, it was taken, ended, or is too old. */
  async take(state: string): Promise<{ readonly id: string; readonly pending: PendingSignIn } | undefined> {
    const id = pendingKey(state);
    const earliest = this.#clock.now() - SIGN_IN_LIMIT_MS;
    const { changes } = this.#db.run(`UPDATE oauth_pending SET result = '' WHERE id = ? AND result IS NULL AND begun_at > ?`, id, earliest);
    const text = await this.#secrets.get(PREFIX + id);
    await this.#secrets.delete(PREFIX + id);
    if (changes !== 1 || text === undefined) return undefined;
    const parsed = PendingSignIn.safeParse(JSON.parse(text));
    return parsed.success ? { id, pending: parsed.data } : undefined;
  }

  /** Tells the window that began it. */
  end(id: string, end: SignInEnd): void {
    this.#db.run('UPDATE oauth_pending SET result = ? WHERE id = ?', JSON.stringify(end), id);
  }

  /** Waits for the end, whichever window brings it. `undefined` when time is over or `signal` says so; nobody can finish it any more then. */
  async ended(id: string, signal: AbortSignal): Promise<SignInEnd | undefined> {
    const deadline = this.#clock.now() + SIGN_IN_LIMIT_MS;
    try {
      while (!signal.aborted && this.#clock.now() < deadline) {
        const row = this.#db.get('SELECT result FROM oauth_pending WHERE id = ?', id);
        const result = row?.['result'];
        if (row === undefined) return undefined;
        if (typeof result === 'string' && result !== '') return JSON.parse(result) as SignInEnd;
        await this.#pause(signal);
      }
      return undefined;
    } finally {
      await this.drop(id);
    }
  }

  /** Forgets a sign-in. */
  async drop(id: string): Promise<void> {
    this.#db.run('DELETE FROM oauth_pending WHERE id = ?', id);
    await this.#secrets.delete(PREFIX + id);
  }

  /** Forgets what nobody finished, of windows that were closed. */
  async sweep(): Promise<void> {
    const old = this.#db.all('SELECT id FROM oauth_pending WHERE begun_at <= ?', this.#clock.now() - SIGN_IN_LIMIT_MS);
    for (const { id } of old) await this.drop(String(id));
  }

  #pause(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timers: Disposable[] = [];
      const done = () => {
        timers[0]?.dispose();
        signal.removeEventListener('abort', done);
        resolve();
      };
      timers.push(this.#clock.after(LOOK_MS, done));
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
