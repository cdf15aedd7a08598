import * as vscode from 'vscode';
import { isConfirmed, type Server } from '../../mcp/server.ts';

/** Scheme of the addresses that only carry a colour. */
const WARNING_SCHEME = 'culvert-warning';

/** What is wrong with how a server is reached, for its row. */
export interface ServerWarning {
  readonly short: string;
  readonly long: string;
}

/** What the user must see about a server before anything else; `undefined` if all is well. */
export function warningOf({ upstream }: Server): ServerWarning | undefined {
  if (upstream.kind === 'stdio')
    return isConfirmed(upstream)
      ? undefined
      : {
          short: 'command not confirmed',
          long: 'Its command changed or was never confirmed, so it is not started. Confirm it with “Culvert: Edit Server…”.',
        };
  if (upstream.tls?.unverified === true)
    return {
      short: 'certificates not checked',
      long: 'Its certificates are not checked: anybody on the way could read its credential and change what it answers. Change that with “Culvert: Edit Server…”.',
    };
  return undefined;
}

/** Address of a row that {@link WarningDecorations} draws in red. */
export function warningUri(server: Server): vscode.Uri {
  return vscode.Uri.from({ scheme: WARNING_SCHEME, path: `/${server.id}` });
}

/** Draws the rows of servers with a warning in the colour of errors. */
export class WarningDecorations implements vscode.FileDecorationProvider {
  provideFileDecoration(uri: vscode.Uri): vscode.FileDecoration | undefined {
    if (uri.scheme !== WARNING_SCHEME) return undefined;
    return new vscode.FileDecoration('!', undefined, new vscode.ThemeColor('errorForeground'));
  }
}
