/**
 * Base of every error that Culvert raises. `code` is stable and starts with `CULVERT_`; `message` says what happened and what
 * the user can do next, and never holds a secret.
 */
export class CulvertError extends Error {
  readonly code: `CULVERT_${string}`;

  constructor(code: `CULVERT_${string}`, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The state database can't be used: locked, corrupt, from a newer version, on a read-only or full disk. */
export class StoreError extends CulvertError {}

/** SecretStorage does not give what it was given, or can't be reached. */
export class VaultError extends CulvertError {}

/** The listener can't be opened. */
export class ListenerError extends CulvertError {}

/** The upstream leg failed. `leg` says where, so that a message can name it. */
export class UpstreamError extends CulvertError {
  readonly leg: 'resolve' | 'connect' | 'proxy' | 'tls' | 'request' | 'response' | 'redirect' | 'timeout' | 'start' | 'ssh';

  constructor(code: `CULVERT_UPSTREAM_${string}`, leg: UpstreamError['leg'], message: string, options?: { readonly cause?: unknown }) {
    super(code, message, options);
    this.leg = leg;
  }
}

/** What went wrong in one line, for a log or a message: the message of an Error, else a plain word. Never a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown error';
}

/** Value of `error.code` where there is one (Node system errors, {@link CulvertError}). */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
