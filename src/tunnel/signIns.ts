import type { Clock } from '../common/clock.ts';
import { DisposableStore, Emitter, type Disposable } from '../common/disposable.ts';
import { messageOf } from '../common/errors.ts';
import type { CredentialRegistry } from '../credentials/credentialRegistry.ts';
import type { Credential } from '../credentials/credential.ts';
import { begin, finish, propose, type Proposal } from '../credentials/oauth/codeFlow.ts';
import { DOCUMENT_REDIRECT_PATH, goesByDocument } from '../credentials/oauth/client.ts';
import { identityEndpoint, type IdentityEndpoint } from '../credentials/oauth/identityProvider.ts';
import { discover } from '../credentials/oauth/discovery.ts';
import { OAuthFailure } from '../credentials/oauth/failure.ts';
import { Leases } from '../credentials/oauth/lease.ts';
import { LoopbackCallback } from '../credentials/oauth/loopbackCallback.ts';
import { OAuthSource, holderOf, type SignInNeed } from '../credentials/oauth/oauthSource.ts';
import { PendingSignIns, type SignInEnd } from '../credentials/oauth/pendingSignIns.ts';
import { OAuthSettings } from '../credentials/oauth/settings.ts';
import { secretsIn, stateSecret, type OAuthState, type TypedClient } from '../credentials/oauth/state.ts';
import { TokenKeeper, keptFor, namedOrigins } from '../credentials/oauth/tokenKeeper.ts';
import { guardedFetch, type OAuthWire } from '../credentials/oauth/wire.ts';
import { Secret } from '../credentials/secret.ts';
import type { Sources } from '../credentials/sources.ts';
import type { SecretStore } from '../credentials/vault.ts';
import type { Act } from '../audit/record.ts';
import type { Database } from '../store/database.ts';

/** Sign-ins without a person that may follow each other within {@link SIGN_IN_SPAN_MS}: a server that is never content must not loop. */
const MAX_SIGN_INS = 3;
const SIGN_IN_SPAN_MS = 60_000;

/** What signing in needs of its surroundings. */
export interface SignInsOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly secretStore: SecretStore;
  readonly credentials: CredentialRegistry;
  readonly sources: Sources;
  readonly wire: (target: URL, named: readonly string[]) => OAuthWire;
  readonly recognise: (credential: string, revision: string, secret: Secret) => void;
  readonly act: (act: Omit<Act, 'window'>) => void;
  /** Where our client metadata document lies; `undefined` if none is hosted. */
  readonly documentUrl: () => string | undefined;
  /** For programs without an editor: opens the browser while a call waits. */
  readonly openBrowser?: ((url: URL) => Promise<void>) | undefined;
}

/** A sign-in that the browser is on its way with. */
export interface Started {
  /** Under which its end is waited for. */
  readonly id: string;
  readonly url: URL;
}

/** Signs users in at authorization servers, for one window: from finding out where, over the browser, to tokens in the vault. */
export class SignIns implements Disposable {
  readonly source: OAuthSource;
  readonly pending: PendingSignIns;
  readonly #options: SignInsOptions;
  readonly #store = new DisposableStore();
  readonly #signedIn = new Emitter<string>();
  readonly #times = new Map<string, number[]>();

  /** Fires with a credential's id after a sign-in of this window was stored. */
  readonly onDidSignIn = this.#signedIn.event;

  constructor(options: SignInsOptions) {
    const { db, clock, secretStore, credentials, sources, wire, recognise, openBrowser } = options;
    this.#options = options;
    this.pending = new PendingSignIns(db, secretStore, clock);
    const keeper = new TokenKeeper({
      vault: credentials.vault,
      leases: new Leases(db),
      clock,
      wire,
      recognise,
      onDidStore: credentials.vault.onDidChange,
      assertion: async (id, url, signal) => {
        const credential = credentials.get(id);
        if (!credential)
          throw new OAuthFailure(
            'CULVERT_CREDENTIAL_OAUTH_NO_ASSERTION',
            'token',
            'settings',
            'The credential that this sign-in builds on was forgotten.',
          );
        return (await sources.resolve(credential, url.origin, url, signal)).secret;
      },
    });
    this.source = new OAuthSource(keeper, openBrowser && ((need) => this.#signInNow(need, openBrowser)));
    this.#store.add(sources.register(this.source));
    this.#store.add(this.#signedIn);
  }

  /**
   * Where a sign-in for a server leads and what it asks for. Registers nothing, stores nothing. Throws OAuthFailure. `credential`: an earlier
   * sign-in, whose scopes are asked for again.
   */
  async propose(
    target: URL,
    settings: OAuthSettings,
    signal: AbortSignal,
    options: { readonly credential?: Credential; readonly wwwAuthenticate?: string } = {},
  ): Promise<Proposal> {
    const { credential } = options;
    const wwwAuthenticate = options.wwwAuthenticate ?? (credential && this.source.challenge(credential.id));
    const wire = this.#options.wire(target, namedOrigins(settings));
    return propose(target, { wire, settings, state: await this.#stateOf(credential), wwwAuthenticate, signal });
  }

  /** A callback on this machine, at the path and port where the browser may come back to. */
  openCallback({ client }: OAuthSettings, { found }: Proposal): Promise<LoopbackCallback> {
    const fixed = client ? undefined : goesByDocument(found, this.#options.documentUrl()) ? DOCUMENT_REDIRECT_PATH : undefined;
    const { redirectPath: path = fixed, redirectPort: port } = client ?? {};
    return LoopbackCallback.open({ ...(path === undefined ? {} : { path }), ...(port === undefined ? {} : { port }) });
  }

  /** Registers where needed, and keeps what any window needs to finish. `client`: one that the user typed for this. Throws OAuthFailure. */
  async start(
    credential: Credential,
    proposal: Proposal,
    redirectUri: string,
    signal: AbortSignal,
    purpose: Readonly<Record<string, string>> = {},
    client?: TypedClient,
  ): Promise<Started> {
    const { settings } = holderOf(credential);
    const { clock, wire, documentUrl } = this.#options;
    const { url, pending } = await begin(proposal, {
      wire: wire(proposal.target, namedOrigins(settings)),
      settings,
      state: await this.#stateOf(credential),
      wwwAuthenticate: undefined,
      signal,
      redirectUri,
      documentUrl: documentUrl(),
      now: clock.now(),
      purpose: { ...purpose, credential: credential.id, ...(client ? { client: JSON.stringify(client.settings) } : {}) },
      client,
    });
    return { id: await this.pending.keep(pending), url };
  }

  /**
   * Takes what the browser brought back, whichever window sent it out. Stores the tokens, tells the window that waits, and gives the
   * credential. Throws OAuthFailure; `undefined` if no sign-in waits for this.
   */
  async complete(callback: URLSearchParams, signal: AbortSignal): Promise<Credential | undefined> {
    const taken = await this.pending.take(callback.get('state') ?? '');
    if (!taken) return undefined;
    const { id, pending } = taken;
    let end: SignInEnd = { ok: false, message: 'The sign-in came to nothing. Sign in again.' };
    const credential = this.#options.credentials.get(pending.purpose['credential'] ?? '');
    try {
      if (!credential || credential.source?.kind !== 'oauth')
        throw new OAuthFailure(
          'CULVERT_CREDENTIAL_OAUTH_GONE',
          'sign-in',
          'sign-in',
          'What you signed in for was forgotten meanwhile, so nothing was stored.',
        );
      const { clock, wire } = this.#options;
      const target = new URL(pending.target);
      const { state, account } = await finish(pending, callback, {
        wire: wire(target, namedOrigins(credential.source)),
        now: () => clock.now(),
        signal,
      });
      const stored = await this.#keep(credential, state, account, pending.purpose);
      end = { ok: true };
      this.#signedIn.fire(stored.id);
      return stored;
    } catch (error) {
      end = { ok: false, message: messageOf(error) };
      this.#options.act({ act: 'sign-in-failed', subject: credential?.name ?? 'a credential', detail: messageOf(error) });
      throw error;
    } finally {
      this.pending.end(id, end);
    }
  }

  dispose(): void {
    this.#store.dispose();
  }

  async #keep(
    credential: Credential,
    state: OAuthState,
    account: OAuthSettings['account'],
    purpose: Readonly<Record<string, string>>,
  ): Promise<Credential> {
    const sameAccount = purpose['account'] !== 'any';
    const { credentials, recognise, act } = this.#options;
    const { settings } = holderOf(credential);
    const before = settings.account;
    const issuer = state.server?.issuer ?? '';
    for (const { revision, secret } of secretsIn(state)) recognise(credential.id, revision, secret);
    if (sameAccount && before && account && settings.issuer === issuer && before.subject !== account.subject) {
      await this.source.keeper.revokeState(state, namedOrigins(settings), AbortSignal.timeout(REVOKE_MS)).catch(() => undefined);
      throw new OAuthFailure(
        'CULVERT_CREDENTIAL_OAUTH_ACCOUNT',
        'sign-in',
        'sign-in',
        `You signed in as ${account.label}, but “${credential.name}” is for ${before.label}. Nothing was changed. Sign in as ${before.label}, or add ${account.label} as another account.`,
      );
    }
    const source: OAuthSettings = { ...settings, issuer };
    const typed = purpose['client'];
    if (typed !== undefined) source.client = OAuthSettings.shape.client.unwrap().parse(JSON.parse(typed));
    if (account) source.account = account;
    else delete source.account;
    const stored = await credentials.replaceSource(credential.id, source, {
      secret: stateSecret(state),
      origins: credential.origins.map(keptFor),
    });
    if (!stored)
      throw new OAuthFailure(
        'CULVERT_CREDENTIAL_OAUTH_GONE',
        'sign-in',
        'sign-in',
        `“${credential.name}” was forgotten meanwhile, so nothing was stored.`,
      );
    act({
      act: 'signed-in',
      subject: credential.name,
      detail: [new URL(issuer).host, account?.label, state.tokens?.scope].filter((text) => text !== undefined && text !== '').join(', '),
    });
    return stored;
  }

  /** The secrets or keys that the user typed for the clients of a credential, for changing the rest of it. */
  async secretsOf(credential: Credential): Promise<{ readonly secret?: Secret; readonly identitySecret?: Secret }> {
    const { client, identityClient } = (await this.#stateOf(credential)) ?? {};
    return {
      ...(client?.secret === undefined ? {} : { secret: new Secret(client.secret) }),
      ...(identityClient ? { identitySecret: new Secret(identityClient.secret) } : {}),
    };
  }

  /** The authorization server that an MCP server names, for showing before anything goes there. Throws OAuthFailure. */
  async namedBy(target: URL, signal: AbortSignal): Promise<string> {
    const fetch = guardedFetch(this.#options.wire(target, []), target, 'discovery', signal);
    return (await discover(target, fetch, { wwwAuthenticate: undefined, flow: 'direct' })).issuer;
  }

  /** The token endpoint of a company’s identity provider, which the user typed. Throws OAuthFailure. */
  identityEndpoint(target: URL, issuer: string, signal: AbortSignal): Promise<IdentityEndpoint> {
    const named = URL.canParse(issuer) ? [new URL(issuer).origin] : [];
    return identityEndpoint(issuer, target, guardedFetch(this.#options.wire(target, named), target, 'discovery', signal));
  }

  async #stateOf(credential: Credential | undefined): Promise<OAuthState | undefined> {
    const [binding] = credential?.origins ?? [];
    if (!credential || binding === undefined) return undefined;
    return (await this.source.keeper.load(holderOf(credential), binding, true).catch(() => undefined))?.state;
  }

  /** The whole way, while a call waits. */
  async #signInNow({ credential, target, wwwAuthenticate, signal }: SignInNeed, openBrowser: (url: URL) => Promise<void>): Promise<void> {
    this.#count(credential);
    const { settings } = holderOf(credential);
    const proposal = await this.propose(target, settings, signal, {
      credential,
      ...(wwwAuthenticate === undefined ? {} : { wwwAuthenticate }),
    });
    const callback = await this.openCallback(settings, proposal);
    try {
      const { url, id } = await this.start(credential, proposal, callback.redirectUri, signal);
      const answer = callback.answer(url.searchParams.get('state') ?? '');
      await openBrowser(url);
      const parameters = await Promise.race([answer, stopped(signal)]);
      if (!parameters) {
        await this.pending.drop(id);
        throw new OAuthFailure('CULVERT_CREDENTIAL_OAUTH_LATE', 'sign-in', 'sign-in', `Nobody signed in for “${credential.name}” in time.`);
      }
      await this.complete(parameters, signal);
      await this.pending.drop(id);
    } finally {
      callback.dispose();
    }
  }

  #count({ id, name }: Credential): void {
    const now = this.#options.clock.now();
    const recent = (this.#times.get(id) ?? []).filter((at) => now - at < SIGN_IN_SPAN_MS);
    this.#times.set(id, [...recent, now]);
    if (recent.length >= MAX_SIGN_INS)
      throw new OAuthFailure(
        'CULVERT_CREDENTIAL_OAUTH_LOOP',
        'server',
        'later',
        `The server of “${name}” has asked for ${MAX_SIGN_INS} sign-ins within a minute and is still not content. Nothing more was tried.`,
      );
  }
}

/** How long taking tokens back may hold up a message, milliseconds. */
const REVOKE_MS = 5_000;

function stopped(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
