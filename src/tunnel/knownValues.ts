import { DisposableStore, type Disposable } from '../common/disposable.ts';
import type { CredentialRegistry } from '../credentials/credentialRegistry.ts';
import { isForIssuer, signInParts } from '../credentials/oauth/state.ts';
import type { Secret } from '../credentials/secret.ts';
import type { LeakGuard } from '../inspection/leakGuard.ts';

/** Values of one credential that are recognised: the one in use, and earlier ones that may still be valid somewhere. */
const MAX_KNOWN_REVISIONS = 32;

/** Makes the inspector know the values of credentials, before any of them goes out. */
export class KnownValues implements Disposable {
  readonly #credentials: CredentialRegistry;
  readonly #leaks: LeakGuard;
  readonly #store = new DisposableStore();
  /** Ids of the credentials whose sealed value was looked for. */
  readonly #known = new Set<string>();
  /** By credential: ids of the values that are known, oldest first. */
  readonly #revisions = new Map<string, string[]>();
  #learning: Promise<void> = Promise.resolve();
  /** How many lists of sealed values are still being read. */
  #toLearn = 0;

  constructor(credentials: CredentialRegistry, leaks: LeakGuard) {
    this.#credentials = credentials;
    this.#leaks = leaks;
    this.#store.add(credentials.vault.onDidChange((id) => this.#learn([id])));
    this.#store.add(credentials.onDidChange(() => this.#learnNew()));
    this.#learn(credentials.list().map((c) => c.id));
  }

  /** Resolves when the sealed values that there are so far were read. Rejects if one could not be. */
  get learned(): Promise<void> {
    return this.#learning;
  }

  /**
   * Resolves when every sealed value is known to the inspector, and what secrets look like: that is loaded when it is first needed.
   * `undefined` if it is so now.
   */
  ready(): Promise<void> | undefined {
    const leaks = this.#leaks;
    if (this.#toLearn === 0 && !leaks.canaries.isLearning) return leaks.ready();
    return this.#learning.then(() => leaks.canaries.learned).then(() => leaks.ready());
  }

  /**
   * Makes the inspector know a value before it goes out, also one that could not be read from the keyring earlier. Of values that change
   * often, the last {@link MAX_KNOWN_REVISIONS} of each credential stay known.
   */
  recognise(id: string, revision: number | string, secret: Secret): void {
    const key = `${id}@${revision}`;
    const { secrets } = this.#leaks;
    if (secrets.has(key)) return;
    secrets.learn(key, secret.expose());
    const known = this.#revisions.get(id) ?? [];
    this.#revisions.set(id, known);
    known.push(key);
    if (known.length > MAX_KNOWN_REVISIONS) secrets.forget(known.shift() ?? '');
  }

  dispose(): void {
    this.#store.dispose();
  }

  #learnNew(): void {
    const known = this.#known;
    this.#learn(
      this.#credentials
        .list()
        .map((c) => c.id)
        .filter((id) => !known.has(id)),
    );
  }

  /** Values of earlier revisions stay known while the process runs: a replaced token may still be valid somewhere. */
  #learn(ids: readonly string[]): void {
    if (ids.length === 0) return;
    for (const id of ids) this.#known.add(id);
    this.#toLearn++;
    this.#learning = this.#learning.then(async () => {
      for (const id of ids) {
        const opened = await this.#credentials.vault.openForDetection(id);
        if (!opened) continue;
        const parts = signInParts(opened.secret);
        if (parts) for (const { revision, secret } of parts) this.recognise(id, revision, secret);
        else this.recognise(id, opened.revision, opened.secret);
      }
      // Not reached where one could not be read: then whoever waits is told, as before.
      this.#toLearn--;
    });
  }
}

/** Whether a known secret is for the server that its credential is for, and not only for whoever gives that one’s tokens. */
export function isForServer(secretId: string, credentials: CredentialRegistry): boolean {
  return !isForIssuer(secretId) || credentials.recent(credentialOf(secretId))?.source?.kind !== 'oauth';
}

/** The credential that a known secret belongs to. */
export function credentialOf(secretId: string): string {
  return secretId.split('@', 1)[0] ?? secretId;
}
