import { createHash } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import type { Event } from '../../common/disposable.ts';
import { UpstreamError } from '../../common/errors.ts';
import type { Secret } from '../secret.ts';
import type { Vault } from '../vault.ts';
import { acquire } from './directGrants.ts';
import { Prover } from './dpop.ts';
import { OAuthFailure, shownHost } from './failure.ts';
import type { Leases } from './lease.ts';
import { scopesOf, type OAuthSettings } from './settings.ts';
import { readState, secretsIn, stateSecret, type OAuthState } from './state.ts';
import { requestTokens, revokeToken, type TokenContext } from './tokenEndpoint.ts';
import type { OAuthWire } from './wire.ts';

/** How long before its end a token is no longer sent, milliseconds: clocks differ, and a call takes a moment. */
export const SKEW_MS = 10_000;
/** How long before its end a token is renewed while it is still used, milliseconds; of short-lived ones a third of their life. */
export const RENEW_MS = 90_000;
/** After a renewal that came to nothing the token that still holds is given for so long, milliseconds. */
const RETRY_MS = 15_000;
/** How long a process waits for another one's renewal, milliseconds. */
const WAIT_MS = 30_000;
/** How often it looks, milliseconds; the keyring’s own event is faster where it arrives. */
const LOOK_MS = 100;

/** A credential, as far as tokens go. */
export interface Holder {
  readonly id: string;
  readonly name: string;
  readonly origins: readonly string[];
  readonly settings: OAuthSettings;
}

/** What tokens are kept and renewed with. */
export interface KeeperOptions {
  readonly vault: Vault;
  readonly leases: Leases;
  readonly clock: Clock;
  /** A way to authorization servers for one MCP server; `named`: origins that the user typed. */
  readonly wire: (target: URL, named: readonly string[]) => OAuthWire;
  /** Makes a value known to the inspector before it can come back. */
  readonly recognise: (credential: string, revision: string, secret: Secret) => void;
  readonly assertion: (credential: string, url: URL, signal: AbortSignal) => Promise<Secret>;
  readonly onDidStore: Event<string>;
}

/** What is in the vault for a credential. */
export interface Held {
  readonly state: OAuthState;
  readonly revision: number;
}

/** Tokens of credentials: read, renewed by one process at a time, stored before they are used. */
export class TokenKeeper {
  readonly options: KeeperOptions;
  /** Renewed, but the keyring did not take it: lost, the sign-in would be over. */
  readonly #unsaved = new Map<string, Held>();

  constructor(options: KeeperOptions) {
    this.options = options;
  }

  /** What is stored; `fresh` asks the keyring, past what this process remembers. */
  async load(holder: Holder, binding: string, fresh: boolean): Promise<Held | undefined> {
    const { vault } = this.options;
    const unsaved = this.#unsaved.get(holder.id);
    if (unsaved && holder.origins.includes(binding)) return unsaved;
    const opened = fresh ? await vault.reopen(holder.id, keptFor(binding)) : await vault.open(holder.id, keptFor(binding));
    if (!opened.ok) {
      if (opened.reason === 'missing') return undefined;
      throw new OAuthFailure(
        'CULVERT_CREDENTIAL_OAUTH_VAULT',
        'token',
        'sign-in',
        opened.reason === 'other-origin'
          ? `The sign-in of “${holder.name}” is bound to another server, so nothing of it was sent. Sign in again.`
          : `The sign-in of “${holder.name}” can’t be read from the system’s keyring. Unlock the keyring, or sign in again.`,
      );
    }
    const state = readState(opened.secret);
    if (!state)
      throw new OAuthFailure(
        'CULVERT_CREDENTIAL_OAUTH_VAULT',
        'token',
        'sign-in',
        `What is stored for “${holder.name}” is no sign-in. Sign in again.`,
      );
    this.#recognise(holder.id, state);
    return { state, revision: opened.revision };
  }

  /** Stores a state. Every secret in it is known to the inspector first. Throws VaultError. */
  async store(holder: Holder, state: OAuthState, before: Held | undefined): Promise<Held> {
    this.#recognise(holder.id, state);
    const held = { state, revision: (before?.revision ?? 0) + 1 };
    await this.options.vault.seal(holder.id, stateSecret(state), holder.origins.map(keptFor), held.revision);
    this.#unsaved.delete(holder.id);
    return held;
  }

  /** Stores what a renewal gave. If the keyring fails, this process goes on with it and tries again with the next renewal. */
  async #storeRenewed(holder: Holder, state: OAuthState, before: Held | undefined): Promise<Held> {
    try {
      return await this.store(holder, state, before);
    } catch {
      const held = { state, revision: (before?.revision ?? 0) + 1 };
      this.#unsaved.set(holder.id, held);
      return held;
    }
  }

  /** Whether the token may be sent now. */
  holds({ tokens }: OAuthState): boolean {
    return tokens !== undefined && (tokens.expiresAt === undefined || this.options.clock.now() < tokens.expiresAt - skewOf(tokens));
  }

  /** Whether the token holds long enough to be left alone. */
  isFresh({ tokens }: OAuthState): boolean {
    if (!tokens) return false;
    return tokens.expiresAt === undefined || this.options.clock.now() < tokens.expiresAt - skewOf(tokens) - windowOf(tokens);
  }

  /** Until when what holds may be given without asking again, milliseconds since the epoch. */
  until({ tokens }: OAuthState): number | undefined {
    if (tokens?.expiresAt === undefined) return undefined;
    const end = tokens.expiresAt - skewOf(tokens);
    return this.isFresh({ oauth: 1, tokens }) ? end : Math.min(end, this.options.clock.now() + RETRY_MS);
  }

  /**
   * Other tokens in place of those with the id `instead`: by refresh, or where nobody has to sign in, by asking anew. One process does it at a
   * time; the others take what it stored. `refused`: the server does not want the old one any more. Throws {@link OAuthFailure}.
   */
  async renew(
    holder: Holder,
    binding: string,
    target: URL,
    instead: string | undefined,
    {
      refused,
      wwwAuthenticate,
      signal,
    }: { readonly refused: boolean; readonly wwwAuthenticate: string | undefined; readonly signal: AbortSignal },
  ): Promise<Held> {
    const { leases, clock } = this.options;
    const deadline = clock.monotonic() + WAIT_MS;
    for (;;) {
      if (signal.aborted) throw abandoned(holder);
      const lease = leases.take(holder.id, clock.now());
      if (lease) return this.#renewHolding(holder, binding, target, instead, lease.unsure, refused, wwwAuthenticate, signal);
      await this.#otherIsDone(holder.id, signal);
      const held = await this.load(holder, binding, true);
      if (held?.state.tokens && held.state.tokens.id !== instead && this.holds(held.state)) return held;
      if (clock.monotonic() >= deadline)
        throw new OAuthFailure(
          'CULVERT_CREDENTIAL_OAUTH_BUSY',
          'refresh',
          'later',
          `Another window has been renewing the sign-in of “${holder.name}” for ${WAIT_MS / 1000} seconds. Try again.`,
        );
    }
  }

  async #renewHolding(
    holder: Holder,
    binding: string,
    target: URL,
    instead: string | undefined,
    unsure: string | undefined,
    refused: boolean,
    wwwAuthenticate: string | undefined,
    signal: AbortSignal,
  ): Promise<Held> {
    const { leases, clock } = this.options;
    let settled = false;
    try {
      const held = await this.load(holder, binding, true);
      const { tokens } = held?.state ?? {};
      // Somebody did it while we waited for the lease.
      if (held && tokens && tokens.id !== instead && this.holds(held.state)) return held;
      const wire = this.options.wire(target, namedOrigins(holder.settings));
      const now = () => clock.now();
      if (holder.settings.grant !== 'code') {
        const { assertion } = this.options;
        const state = await acquire(target, {
          wire,
          settings: holder.settings,
          state: held?.state,
          wwwAuthenticate,
          signal,
          now,
          assertion,
        });
        return await this.#storeRenewed(holder, state, held);
      }
      if (!held || !tokens?.refresh) throw signInAgain(holder, held?.state);
      const digest = digestOf(tokens.refresh);
      // It went out before, and nobody knows what became of it: perhaps it is spent, and showing it again would end the whole family. What
      // still holds is used to its end first.
      if (unsure === digest && !refused && this.holds(held.state)) return held;
      leases.sending(holder.id, digest);
      const refreshed = await this.#refresh(holder, held, target, wire, signal);
      const stored = await this.#storeRenewed(holder, refreshed, held);
      settled = true;
      return stored;
    } catch (error) {
      settled ||= error instanceof OAuthFailure && isAnswer(error);
      if (!(error instanceof OAuthFailure) || error.remedy !== 'sign-in' || error.error !== 'invalid_grant') throw error;
      if (holder.settings.grant !== 'code') throw error;
      // Whichever call comes first and however it hears of it, the user is told the same, and so once.
      throw signInAgain(holder, await this.#dropRefresh(holder, binding));
    } finally {
      leases.release(holder.id, settled);
    }
  }

  async #refresh(holder: Holder, { state }: Held, target: URL, wire: OAuthWire, signal: AbortSignal): Promise<OAuthState> {
    const { server, client, tokens, resource, dpop } = state;
    if (!server || !client || !tokens?.refresh) throw signInAgain(holder, state);
    // What belongs to one issuer goes to no other, whatever the row says.
    if (client.issuer !== server.issuer || (holder.settings.issuer !== undefined && holder.settings.issuer !== server.issuer))
      throw signInAgain(holder, state);
    const context: TokenContext = {
      wire,
      target,
      server,
      client,
      prover: dpop ? new Prover(dpop) : undefined,
      signal,
      now: () => this.options.clock.now(),
      step: 'refresh',
    };
    const asked = scopesOf(tokens.asked);
    const { tokens: next } = await requestTokens(
      context,
      { grant_type: 'refresh_token', refresh_token: tokens.refresh, ...(resource === undefined ? {} : { resource }) },
      asked,
    );
    // RFC 6749, 6: what is not named stays as it was.
    const scope = next.scope === tokens.asked ? (tokens.scope ?? next.scope) : next.scope;
    const kept = { ...next, refresh: next.refresh ?? tokens.refresh, ...(scope === undefined ? {} : { scope }) };
    return { ...state, tokens: kept };
  }

  /** A refresh token that was turned down is never shown again. What was stored before. */
  async #dropRefresh(holder: Holder, binding: string): Promise<OAuthState | undefined> {
    const held = await this.load(holder, binding, true).catch(() => undefined);
    if (!held?.state.tokens?.refresh) return held?.state;
    const tokens = { ...held.state.tokens };
    delete tokens.refresh;
    await this.store(holder, { ...held.state, tokens }, held).catch(() => undefined);
    return held.state;
  }

  /** Revokes what is stored at the authorization server (RFC 7009), best effort, and forgets the lease. */
  async revoke(holder: Holder, binding: string, target: URL, signal: AbortSignal): Promise<boolean> {
    const held = await this.load(holder, binding, true).catch(() => undefined);
    this.options.leases.forget(holder.id);
    return held !== undefined && (await this.revokeState(held.state, namedOrigins(holder.settings), signal, target));
  }

  /** The same for tokens that were never stored. */
  async revokeState(
    { server, client, tokens, dpop, resource }: OAuthState,
    named: readonly string[],
    signal: AbortSignal,
    target?: URL,
  ): Promise<boolean> {
    if (!server || !tokens) return false;
    return this.#revoke(server, client, tokens, dpop, target ?? new URL(resource ?? server.issuer), named, signal);
  }

  async #revoke(
    server: NonNullable<OAuthState['server']>,
    client: OAuthState['client'],
    tokens: Tokens,
    dpop: OAuthState['dpop'],
    target: URL,
    named: readonly string[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const wire = this.options.wire(target, named);
    const prover = dpop ? new Prover(dpop) : undefined;
    const context: TokenContext = { wire, target, server, client, prover, signal, now: () => this.options.clock.now(), step: 'token' };
    const refresh = tokens.refresh !== undefined && (await revokeToken(context, tokens.refresh, 'refresh_token'));
    const access = await revokeToken(context, tokens.access, 'access_token');
    return refresh || access;
  }

  #recognise(credential: string, state: OAuthState): void {
    for (const { revision, secret } of secretsIn(state)) this.options.recognise(credential, revision, secret);
  }

  /** Resolves when the value was stored anew, the lease is free, or after a moment. */
  #otherIsDone(id: string, signal: AbortSignal): Promise<void> {
    const { onDidStore, clock } = this.options;
    return new Promise((resolve) => {
      const done = () => {
        subscription.dispose();
        timer.dispose();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const subscription = onDidStore((stored) => {
        if (stored === id) done();
      });
      const timer = clock.after(LOOK_MS, done);
      signal.addEventListener('abort', done, { once: true });
    });
  }
}

/**
 * What a sign-in is sealed for: not for the origin itself, so that nobody who opens values for a server can send all of it there. Only the
 * access token ever goes.
 */
export function keptFor(binding: string): string {
  return `sign-in ${binding}`;
}

/** Origins that the user typed when setting a credential up; the rest is what servers name. */
export function namedOrigins({ grant, issuer, identityProvider }: OAuthSettings): string[] {
  // Where nobody signs in by browser, somebody typed the authorization server.
  return [grant === 'code' ? undefined : issuer, identityProvider?.issuer, identityProvider?.tokenEndpoint].flatMap((url) =>
    url !== undefined && URL.canParse(url) ? [new URL(url).origin] : [],
  );
}

/** That nothing but a sign-in helps. */
export function signInAgain(holder: Holder, state: OAuthState | undefined): OAuthFailure {
  const issuer = state?.server?.issuer ?? holder.settings.issuer;
  const where = issuer === undefined ? '' : ` at ${shownHost(issuer)}`;
  return new OAuthFailure(
    'CULVERT_CREDENTIAL_OAUTH_SIGN_IN',
    'sign-in',
    'sign-in',
    state?.tokens
      ? `The sign-in of “${holder.name}”${where} has ended. Sign in again.`
      : `“${holder.name}” is not signed in${where}. Sign in.`,
  );
}

function abandoned(holder: Holder): OAuthFailure {
  return new OAuthFailure('CULVERT_CREDENTIAL_OAUTH_ABORTED', 'refresh', 'later', `Renewing the sign-in of “${holder.name}” was given up.`);
}

/** Whether the authorization server answered, or nothing can have reached it: what was sent is not in doubt then. */
function isAnswer(error: OAuthFailure): boolean {
  if (error.error !== undefined) return true;
  const { cause } = error;
  return (
    cause instanceof UpstreamError && (cause.leg === 'resolve' || cause.leg === 'connect' || cause.leg === 'tls' || cause.leg === 'proxy')
  );
}

type Tokens = NonNullable<OAuthState['tokens']>;

function lifeOf({ issuedAt, expiresAt }: Tokens): number {
  return Math.max(0, (expiresAt ?? Number.POSITIVE_INFINITY) - issuedAt);
}

function skewOf(tokens: Tokens): number {
  return Math.min(SKEW_MS, lifeOf(tokens) / 4);
}

function windowOf(tokens: Tokens): number {
  return Math.min(RENEW_MS, lifeOf(tokens) / 3);
}

function digestOf(token: string): string {
  return createHash('sha256').update(`culvert refresh ${token}`).digest('base64url');
}
