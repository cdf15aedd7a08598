/**
 * How sure a finding is, and by what. `known`: a value that the vault holds or that was learned at run time. `canary`: a value that was made
 * up and planted. `exact`, `structured`, `generic`: what a pattern rule says of itself. `hidden`: text that nobody sees. `tool`: a definition
 * that changed. `notice`: something about the inspection itself.
 */
export type FindingTier = 'known' | 'canary' | 'exact' | 'structured' | 'generic' | 'hidden' | 'tool' | 'notice';

/** Something in passing content that should not pass: a secret, hidden text, a changed tool. Never holds the value. */
export interface Finding {
  /**
   * What was recognised: `known-secret`, `canary`, `secret-in-parts`, `hidden-text`, `not-fully-scanned`, `tool-changed`, `rotate`
   * (a sealed value that others may have from before; `path` is the provider’s page), or the id of a
   * pattern rule.
   */
  readonly rule: string;
  readonly severity: 'high' | 'medium' | 'low';
  /** What it is about, by name: the credential’s, the tool’s, the kind of token. */
  readonly subject: string;
  /** Which way the content was going. */
  readonly direction: 'to-agent' | 'to-server';
  /** How it was written, e.g. `as is`, `base64`. */
  readonly form: string;
  /** What was done about it. `reported`: it passed. `stripped`: hidden characters were taken out. `allowed`: the user let it pass. */
  readonly action: 'redacted' | 'blocked' | 'reported' | 'stripped' | 'allowed';
  /** Absent in findings of versions that knew none. */
  readonly tier?: FindingTier;
  /** Where in the message: a JSON pointer (RFC 6901), keys cut short; `headers/NAME` for a header; absent where it was no JSON. */
  readonly path?: string;
  /** HMAC of the value under the store’s key, hex: tells equal values apart from others, and nothing else. Absent for known secrets. */
  readonly digest?: string;
}
