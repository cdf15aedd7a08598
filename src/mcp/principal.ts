/** Who calls: established by the capability token, never by what the client says. */
export interface Principal {
  /** Kind of client the capability was made for: the editor itself, or agents that start the bridge on their own. */
  readonly client: 'vscode' | 'agent';
  /** Id of the window whose tunnel was called. */
  readonly window: string;
  /** Id of the workspace that window has open; absent without one. */
  readonly workspace?: string;
  /** Name of that workspace, for showing. */
  readonly workspaceName?: string;
}

/** The client in words. */
export function clientLabel(principal: Principal, claimedName?: string): string {
  if (principal.client === 'vscode') return 'VS Code';
  return claimedName ? `${claimedName} (as it says)` : 'An agent outside the editor';
}

/** Sessions and tasks belong to this; survives a rotated token. */
export function principalKey(principal: Principal): string {
  return `${principal.client}\u0000${principal.window}`;
}
