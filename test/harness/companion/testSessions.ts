import * as vscode from 'vscode';

/** Id of the provider; `package.json` names it too. */
const PROVIDER = 'culvert-test';

/** A provider of sign-ins, as extensions bring them. The command `culvert-test.renew` gives every session another token. */
export class TestSessions implements vscode.AuthenticationProvider, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<vscode.AuthenticationProviderAuthenticationSessionsChangeEvent>();
  readonly #registrations: vscode.Disposable[];
  #sessions: vscode.AuthenticationSession[] = [];
  #count = 0;

  readonly onDidChangeSessions = this.#changed.event;

  constructor() {
    this.#registrations = [
      vscode.authentication.registerAuthenticationProvider(PROVIDER, 'Test Sign-In', this),
      vscode.commands.registerCommand(`${PROVIDER}.renew`, () => {
        this.#sessions = this.#sessions.map((session) => ({ ...session, accessToken: this.#token() }));
        this.#changed.fire({ added: [], removed: [], changed: this.#sessions });
      }),
    ];
  }

  getSessions(scopes?: readonly string[]): Promise<vscode.AuthenticationSession[]> {
    return Promise.resolve(this.#sessions.filter((s) => scopes === undefined || scopes.every((scope) => s.scopes.includes(scope))));
  }

  createSession(scopes: readonly string[]): Promise<vscode.AuthenticationSession> {
    const session = { id: `session-${scopes.join('-')}`, accessToken: this.#token(), account: { id: 'mila', label: 'Mila' }, scopes };
    this.#sessions = [...this.#sessions.filter(({ id }) => id !== session.id), session];
    this.#changed.fire({ added: [session], removed: [], changed: [] });
    return Promise.resolve(session);
  }

  removeSession(id: string): Promise<void> {
    const removed = this.#sessions.filter((s) => s.id === id);
    this.#sessions = this.#sessions.filter((s) => s.id !== id);
    this.#changed.fire({ added: [], removed, changed: [] });
    return Promise.resolve();
  }

  dispose(): void {
    for (const registration of this.#registrations) registration.dispose();
    this.#changed.dispose();
  }

  /** Made up, one after the other. */
  #token(): string {
    return ['session', 'token', 'of', 'mila', String(++this.#count)].join('-');
  }
}
