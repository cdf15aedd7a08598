/** Something in passing content that should not pass: a secret, a changed tool. Never holds the value. */
export interface Finding {
  /** What was recognised: `known-secret`, `tool-changed`. */
  readonly rule: string;
  readonly severity: 'high' | 'medium' | 'low';
  /** What it is about, by name: the credential's or the tool's. */
  readonly subject: string;
  /** Which way the content was going. */
  readonly direction: 'to-agent' | 'to-server';
  /** How it was written, e.g. `as is`, `base64`. */
  readonly form: string;
  /** What was done about it. */
  readonly action: 'redacted' | 'blocked' | 'reported';
}
