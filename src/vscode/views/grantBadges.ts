import * as vscode from 'vscode';
import type { Badge } from './grantsModel.ts';

/** Scheme of the addresses that only carry a mark. */
const BADGE_SCHEME = 'culvert-grant-state';

const MARKS: Readonly<Record<Badge, readonly [mark: string, words: string, color: string | undefined]>> = {
  asks: ['?', 'Asks each time', undefined],
  denied: ['✕', 'Denied', 'descriptionForeground'],
  partly: ['◐', 'Allowed under conditions', undefined],
  branch: ['⎇', 'Allowed on the git branch that is checked out', undefined],
};

/** Address of a row that {@link GrantBadges} marks. */
export function badgeUri(row: string, badge: Badge): vscode.Uri {
  return vscode.Uri.from({ scheme: BADGE_SCHEME, authority: badge, path: `/${encodeURIComponent(row)}` });
}

/** Marks the rows of Grants that ask or are denied. */
export class GrantBadges implements vscode.FileDecorationProvider {
  provideFileDecoration(uri: vscode.Uri): vscode.FileDecoration | undefined {
    if (uri.scheme !== BADGE_SCHEME || !Object.hasOwn(MARKS, uri.authority)) return undefined;
    const [mark, words, color] = MARKS[uri.authority as Badge];
    return new vscode.FileDecoration(mark, words, color === undefined ? undefined : new vscode.ThemeColor(color));
  }
}
