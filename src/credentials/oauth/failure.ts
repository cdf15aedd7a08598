import { visible } from '../../common/text.ts';
import { CredentialError } from '../source.ts';

/** Where on the way to a token it went wrong, for messages, tests of a credential, and the record. */
export type OAuthStep = 'discovery' | 'registration' | 'sign-in' | 'token' | 'refresh' | 'server';

/** What helps: signing in again, changing how the credential is set up, or trying later. */
export type OAuthRemedy = 'sign-in' | 'settings' | 'later';

/** Longest text of an authorization server that is shown, characters. */
const MAX_SHOWN_CHARACTERS = 200;

/** No token could be had. The message never holds a token, a code or an answer as a whole. */
export class OAuthFailure extends CredentialError {
  readonly remedy: OAuthRemedy;
  /** `error` of RFC 6749, 5.2, where the authorization server gave one. */
  readonly error: string | undefined;

  constructor(
    code: `CULVERT_CREDENTIAL_OAUTH_${string}`,
    step: OAuthStep,
    remedy: OAuthRemedy,
    message: string,
    options: { readonly cause?: unknown; readonly error?: string } = {},
  ) {
    super(code, step, message, {
      ...(options.cause === undefined ? {} : { cause: options.cause }),
      ...(remedy === 'later' ? {} : { action: remedy === 'sign-in' ? 'sign-in' : 'edit' }),
    });
    this.remedy = remedy;
    this.error = options.error;
  }
}

/** Something that looks like a token, a code or a key in what a stranger wrote: long runs without a space. */
const LONG_RUN = /[A-Za-z0-9._~+/=-]{24,}/g;

/** Text of an authorization server for showing: one line, short, nothing in it that could be a token. */
export function shownText(text: string): string {
  return visible(text.replace(LONG_RUN, '…'), MAX_SHOWN_CHARACTERS);
}

/** The host of a URL for showing; the text itself is not repeated if it is none. */
export function shownHost(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'an address that can’t be read';
}
