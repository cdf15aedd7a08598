import { CulvertError } from '../common/errors.ts';
import type { Credential } from './credential.ts';
import type { Secret } from './secret.ts';

/** A value that a source gave. */
export interface Resolved {
  readonly secret: Secret;
  /**
   * Another one for another value, the same for the same. Sources that don't count use {@link revisionOf} of sources.ts, never anything that
   * tells the value.
   */
  readonly revision: string | number;
  /** Milliseconds since the epoch; resolved anew after it. Absent: kept until something drops it. */
  readonly expiresAt?: number;
  /** When the value itself ends, milliseconds since the epoch, for showing and warning. Default: unknown. */
  readonly validUntil?: number;
  /** Further parts of a composed value, by name: `username`, `accessKeyId`, `sessionToken`. All are made known to the inspector too. */
  readonly parts?: Readonly<Record<string, Secret>>;
  /** What the value is good for, where the source knows, for showing. */
  readonly scopes?: readonly string[];
  /** Whose it is, for showing. */
  readonly account?: string;
  /** There is no value yet: the request goes out without, and the refusal tells the source what to ask for. */
  readonly nothing?: true;
  /** The value is good only with a proof of {@link CredentialSource.prove}. */
  readonly bound?: true;
}

/** What a server said to a value that it refused. */
export interface Refused {
  readonly status: 401 | 403;
  readonly wwwAuthenticate: string | undefined;
  /** `DPoP-Nonce` of the answer (RFC 9449, 9). */
  readonly dpopNonce?: string | undefined;
  /** Revision of the value that was refused. */
  readonly revision?: string | number;
}

/** What a source is asked. */
export interface SourceAsk {
  readonly credential: Credential;
  /** What the request is bound to (`bindingOf` of server.ts); it was checked to be among the credential's origins. */
  readonly binding: string;
  /** Endpoint of the server; `stdio:` for a command. Holds no secret. */
  readonly url: URL;
  readonly signal: AbortSignal;
  /** The value that was refused, if any: the source must not give it from a cache of its own. */
  readonly refused?: Refused;
}

/** What a test of a source found. `detail` is a sentence for the user, without the value. */
export interface SourceTest {
  readonly state: 'valid' | 'invalid' | 'unknown';
  /** Which step it speaks about: `command`, `sign-in`, `discovery`, `token`, … */
  readonly step: string;
  readonly detail: string;
}

/**
 * Where values come from. The caller ({@link Sources} of sources.ts) asks one at a time per credential and binding, keeps what it gets until
 * `expiresAt`, makes it known to the inspector, and checks that it can stand where it is placed.
 */
export interface CredentialSource {
  /** The kind of {@link SourceSpec} that it serves. */
  readonly kind: string;
  /** Gets the value. Throws {@link CredentialError}; anything else is told without its words. */
  resolve(ask: SourceAsk): Promise<Resolved>;
  /** Gives back what this window alone holds, such as a lease: its use is over. Called often, best effort, never prompts. */
  release?(credential: Credential, signal: AbortSignal): Promise<void>;
  /** Takes back what was given, at whoever gave it: a token. Called when a credential is forgotten. Best effort, never prompts. */
  revoke?(credential: Credential, signal: AbortSignal): Promise<void>;
  /** Looks whether a value can be had and what is known of it, for *Test Credential*; the trial at the server itself comes after. */
  test?(ask: SourceAsk): Promise<SourceTest>;
  /**
   * Headers that prove possession, made for every single request: they are added last and win over those of the placement. `body` is what goes
   * out. `resolved` is the value that the request carries.
   */
  prove?(
    ask: SourceAsk,
    request: { readonly method: string; readonly url: URL; readonly body: Buffer | undefined; readonly resolved: Resolved },
  ): Promise<Record<string, string>> | Record<string, string>;
}

/** A credential's value can't be had or used. */
export class CredentialError extends CulvertError {
  /** Which step failed: `command`, `file`, `sign-in`, `login`, `value` … */
  readonly step: string;
  /** One or two short sentences for the agent: what it can tell its user. Default: the message. */
  readonly forAgent: string;
  /** What the user can be offered to do about it in the message: the id of an action that the interface knows. */
  readonly action: 'sign-in' | 'replace' | 'edit' | 'confirm' | undefined;

  /** `message` is for the user: what happened, why, what to do next. Neither holds a value. */
  constructor(
    code: `CULVERT_CREDENTIAL_${string}`,
    step: string,
    message: string,
    options: { readonly forAgent?: string; readonly action?: CredentialError['action']; readonly cause?: unknown } = {},
  ) {
    super(code, message, options.cause === undefined ? undefined : { cause: options.cause });
    this.step = step;
    this.forAgent = options.forAgent ?? message;
    this.action = options.action;
  }
}
