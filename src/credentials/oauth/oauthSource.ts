import type { Credential } from '../credential.ts';
import { Secret } from '../secret.ts';
import type { CredentialSource, Resolved, SourceAsk, SourceTest } from '../source.ts';
import { challengeOf } from './challenge.ts';
import { discover } from './discovery.ts';
import { Prover } from './dpop.ts';
import { OAuthFailure, shownHost } from './failure.ts';
import { scopesOf, type OAuthSettings } from './settings.ts';
import type { OAuthState } from './state.ts';
import { namedOrigins, signInAgain, type Held, type Holder, type TokenKeeper } from './tokenKeeper.ts';
import { guardedFetch } from './wire.ts';

/** A token that is refused this soon after it was given won’t get better by another one, milliseconds. */
const JUST_GIVEN_MS = 30_000;

/** Why somebody has to sign in. */
export interface SignInNeed {
  readonly credential: Credential;
  readonly binding: string;
  readonly target: URL;
  /** Header of the refusal: which scopes are wanted, and by whom. */
  readonly wwwAuthenticate: string | undefined;
  readonly reason: 'sign-in' | 'step-up';
  readonly signal: AbortSignal;
}

/**
 * Signs in while the call waits, and stores the result; for programs without an editor. Where there is none, the call fails with what the
 * user can do, and the header of the refusal is kept for the sign-in that follows.
 */
export type SignInNow = (need: SignInNeed) => Promise<void>;

/** Tokens for OAuth-protected servers, as a source of credentials. */
export class OAuthSource implements CredentialSource {
  readonly kind = 'oauth';
  readonly keeper: TokenKeeper;
  readonly #signInNow: SignInNow | undefined;
  readonly #provers = new Map<string, { readonly id: string; readonly prover: Prover; nonces: number }>();
  /** What servers said when they refused, by credential: a later sign-in asks for what they want. */
  readonly #challenges = new Map<string, string>();

  constructor(keeper: TokenKeeper, signInNow?: SignInNow) {
    this.keeper = keeper;
    this.#signInNow = signInNow;
  }

  /** What the server said when it last refused, for the sign-in. */
  challenge(credential: string): string | undefined {
    return this.#challenges.get(credential);
  }

  async resolve(ask: SourceAsk): Promise<Resolved> {
    const holder = holderOf(ask.credential);
    const held = await this.keeper.load(holder, ask.binding, ask.refused !== undefined);
    if (ask.refused) return this.#afterRefusal(ask, holder, held, ask.refused);
    if (held?.state.tokens && this.keeper.isFresh(held.state)) return this.#given(ask, held);
    const direct = holder.settings.grant !== 'code';
    // Without a token the request goes out bare: only the refusal tells what to ask for.
    if (!held?.state.tokens && !direct) return NOTHING;
    if (!direct && held?.state.tokens?.refresh === undefined) {
      if (held && this.keeper.holds(held.state)) return this.#given(ask, held);
      return NOTHING;
    }
    try {
      return this.#given(ask, await this.#renew(ask, holder, held, false));
    } catch (error) {
      if (held && this.keeper.holds(held.state)) return this.#given(ask, held);
      throw error;
    }
  }

  async prove(
    ask: SourceAsk,
    request: { readonly method: string; readonly url: URL; readonly resolved: Resolved },
  ): Promise<Record<string, string>> {
    if (request.resolved.bound !== true) return {};
    const { prover } = this.#provers.get(ask.credential.id) ?? {};
    if (!prover) throw signInAgain(holderOf(ask.credential), undefined);
    const token = request.resolved.secret.expose();
    return { authorization: `DPoP ${token}`, dpop: prover.proof(request.method, request.url, this.keeper.options.clock.now(), token) };
  }

  async revoke(credential: Credential, signal: AbortSignal): Promise<void> {
    const [binding = ''] = credential.origins;
    const [, origin = binding] = /^ssh:\S+ (.+)$/.exec(binding) ?? [];
    if (URL.canParse(origin)) await this.keeper.revoke(holderOf(credential), binding, new URL(origin), signal);
    this.#provers.delete(credential.id);
    this.#challenges.delete(credential.id);
  }

  async test({ credential, binding, url, signal }: SourceAsk): Promise<SourceTest> {
    const holder = holderOf(credential);
    try {
      const { issuer } = holder.settings;
      const fetch = guardedFetch(this.keeper.options.wire(url, namedOrigins(holder.settings)), url, 'discovery', signal);
      const found = await discover(url, fetch, {
        wwwAuthenticate: this.challenge(credential.id),
        issuer,
        withoutMetadata: holder.settings.withoutMetadata === true,
        flow: holder.settings.grant === 'code' ? 'browser' : 'direct',
      });
      if (issuer !== undefined && found.issuer !== issuer)
        return {
          state: 'invalid',
          step: 'discovery',
          detail: `The server now wants a sign-in at ${shownHost(found.issuer)} instead of ${shownHost(issuer)}. Sign in again.`,
        };
      const resolved = await this.resolve({ credential, binding, url, signal });
      if (resolved.nothing) return { state: 'invalid', step: 'sign-in', detail: 'Nobody is signed in. Sign in.' };
      const how = holder.settings.grant === 'code' ? 'Signed in at' : 'A token came from';
      return { state: 'valid', step: 'token', detail: `${how} ${shownHost(found.issuer)}.` };
    } catch (error) {
      if (!(error instanceof OAuthFailure)) throw error;
      return { state: error.remedy === 'later' ? 'unknown' : 'invalid', step: error.step, detail: error.message };
    }
  }

  async #afterRefusal(
    ask: SourceAsk,
    holder: Holder,
    held: Held | undefined,
    refused: NonNullable<SourceAsk['refused']>,
  ): Promise<Resolved> {
    const { tokens } = held?.state ?? {};
    const challenge = challengeOf(refused.wwwAuthenticate);
    if (refused.wwwAuthenticate !== undefined) this.#challenges.set(ask.credential.id, refused.wwwAuthenticate);
    // Renewed or signed in meanwhile, here or in another window.
    if (held && tokens && tokens.id !== tokenIdOf(refused.revision) && this.keeper.holds(held.state)) return this.#given(ask, held);
    if (held && tokens?.type === 'DPoP' && challenge?.error === 'use_dpop_nonce') {
      const kept = this.#proverOf(ask.credential.id, held.state);
      // A nonce that we had already was no help.
      if (!kept.prover.observe(ask.url, refused.dpopNonce)) throw refusesFresh(holder, ask.url);
      kept.nonces++;
      return this.#given(ask, held);
    }
    if (refused.status === 403) return this.#stepUp(ask, holder, held, challenge?.scope);
    if (held && tokens) {
      const life = (tokens.expiresAt ?? Number.POSITIVE_INFINITY) - tokens.issuedAt;
      const justGiven = this.keeper.options.clock.now() - tokens.issuedAt < Math.min(JUST_GIVEN_MS, life / 2);
      const direct = holder.settings.grant !== 'code';
      if (justGiven && (direct || !this.#signInNow)) throw refusesFresh(holder, ask.url);
      if (direct || (tokens.refresh !== undefined && !justGiven)) {
        try {
          return this.#given(ask, await this.#renew(ask, holder, held, true));
        } catch (error) {
          if (direct || !(error instanceof OAuthFailure) || error.remedy !== 'sign-in') throw error;
        }
      }
    } else if (holder.settings.grant !== 'code') return this.#given(ask, await this.#renew(ask, holder, held, true));
    return this.#signIn(ask, holder, held?.state, 'sign-in');
  }

  /** More scopes, by a sign-in that asks for all of them (PROTOCOL.md 6). What was asked for before is not asked for again. */
  async #stepUp(ask: SourceAsk, holder: Holder, held: Held | undefined, scope: string | undefined): Promise<Resolved> {
    const { tokens } = held?.state ?? {};
    const had = new Set([...scopesOf(tokens?.asked), ...scopesOf(tokens?.scope)]);
    const more = scopesOf(scope).filter((one) => !had.has(one));
    if (held && (more.length === 0 || holder.settings.grant !== 'code')) return this.#given(ask, held);
    return this.#signIn(ask, holder, held?.state, 'step-up', more);
  }

  async #signIn(
    ask: SourceAsk,
    holder: Holder,
    state: OAuthState | undefined,
    reason: SignInNeed['reason'],
    more: readonly string[] = [],
  ): Promise<Resolved> {
    if (!this.#signInNow)
      throw reason === 'sign-in'
        ? signInAgain(holder, state)
        : new OAuthFailure(
            'CULVERT_CREDENTIAL_OAUTH_SCOPE',
            'sign-in',
            'sign-in',
            `For this call “${holder.name}” needs more permission (${more.join(', ')}). Sign in again to give it.`,
          );
    const { credential, binding, url, signal } = ask;
    await this.#signInNow({ credential, binding, target: url, wwwAuthenticate: ask.refused?.wwwAuthenticate, reason, signal });
    const held = await this.keeper.load(holder, binding, true);
    if (!held?.state.tokens || held.state.tokens.id === tokenIdOf(ask.refused?.revision)) throw signInAgain(holder, held?.state);
    return this.#given(ask, held);
  }

  #renew(ask: SourceAsk, holder: Holder, held: Held | undefined, refused: boolean): Promise<Held> {
    const wwwAuthenticate = ask.refused?.wwwAuthenticate ?? this.challenge(ask.credential.id);
    return this.keeper.renew(holder, ask.binding, ask.url, held?.state.tokens?.id, { refused, wwwAuthenticate, signal: ask.signal });
  }

  #given(ask: SourceAsk, { state }: Held): Resolved {
    const { tokens } = state;
    if (!tokens) return NOTHING;
    const bound = tokens.type === 'DPoP';
    const nonces = bound ? this.#proverOf(ask.credential.id, state).nonces : 0;
    const until = this.keeper.until(state);
    const { account } = holderOf(ask.credential).settings;
    return {
      secret: new Secret(tokens.access),
      revision: nonces === 0 ? tokens.id : `${tokens.id}~${nonces}`,
      ...(until === undefined ? {} : { expiresAt: until }),
      ...(tokens.expiresAt === undefined || tokens.refresh !== undefined ? {} : { validUntil: tokens.expiresAt }),
      ...(tokens.scope === undefined ? {} : { scopes: scopesOf(tokens.scope) }),
      ...(account ? { account: account.label } : {}),
      ...(bound ? { bound } : {}),
    };
  }

  #proverOf(credential: string, { tokens, dpop }: OAuthState): { readonly prover: Prover; nonces: number } {
    const known = this.#provers.get(credential);
    const id = dpop?.x ?? '';
    if (known?.id === id) return known;
    if (!dpop)
      throw new OAuthFailure(
        'CULVERT_CREDENTIAL_OAUTH_KEY',
        'token',
        'sign-in',
        `The key that the token${tokens ? '' : 's'} of this sign-in is bound to is missing. Sign in again.`,
      );
    const made = { id, prover: new Prover(dpop), nonces: 0 };
    this.#provers.set(credential, made);
    return made;
  }
}

const NOTHING: Resolved = { secret: new Secret(''), revision: 'none', nothing: true };

/** What tokens of a credential need to know about it. Throws Error for a credential of another kind. */
export function holderOf({ id, name, origins, source }: Credential): Holder {
  if (source?.kind !== 'oauth') throw new Error('The credential is no sign-in.');
  return { id, name, origins, settings: source satisfies OAuthSettings };
}

function tokenIdOf(revision: string | number | undefined): string | undefined {
  return revision === undefined ? undefined : String(revision).split('~', 1)[0];
}

function refusesFresh(holder: Holder, target: URL): OAuthFailure {
  if (holder.settings.grant !== 'code')
    return new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_SERVER',
      'server',
      'settings',
      `${target.host} refuses a token that was given for it a moment ago (“${holder.name}”). Nothing more was tried. Check its client and scopes with “Culvert: Edit Server…”; if that does not help, ask whoever runs the server.`,
    );
  return new OAuthFailure(
    'CULVERT_CREDENTIAL_OAUTH_SERVER',
    'server',
    'sign-in',
    `${target.host} refuses a token that was given for it a moment ago (“${holder.name}”). Nothing more was tried. Sign in again, perhaps with another account; if that does not help, ask whoever runs the server.`,
  );
}
