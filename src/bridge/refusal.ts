import type { Json } from './message.ts';

/** 404 is what the specification says; servers built on the common SDKs also say 400 with a sentence about the session. */
export function isSessionGone(status: number, error: Json | undefined, ours: boolean): boolean {
  if (status === 404) return true;
  return status === 400 && !ours && /session|not initialized/i.test(String(error?.['message']));
}

/** What a status says that came without a JSON-RPC error, for the agent. */
export function statusText(status: number): string {
  if (status === 401) return 'The window no longer accepts this bridge. Reload the window or restart the server in your agent.';
  if (status === 404) return 'The window does not know this server. It may have been removed; look under Culvert in VS Code.';
  if (status === 413) return 'The message is too large. Send less at once.';
  if (status >= 500) return `The server can't be reached at the moment (${status}). See its state under Culvert in VS Code.`;
  return `The request was answered with status ${status} and nothing else.`;
}
