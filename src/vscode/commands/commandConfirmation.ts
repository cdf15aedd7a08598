import * as vscode from 'vscode';
import { visible } from '../../common/text.ts';
import { commandDigest, isConfirmed, type UpstreamPlace } from '../../mcp/server.ts';
import { placeOf, type Draft } from './serverDraft.ts';

/**
 * Shows a command whole and asks whether it may be started, unless exactly this one was confirmed before (PROTOCOL.md 5). Resolves to the
 * draft's place, or `undefined` if the user declined.
 */
export async function confirmPlace(draft: Draft): Promise<UpstreamPlace | undefined> {
  const place = placeOf(draft);
  if (place.kind !== 'stdio' || isConfirmed(place)) return place;
  const where = place.ssh === undefined ? 'on this machine' : `on ${place.ssh}, over SSH`;
  const { environment = {} } = place;
  const lines = [
    ...[place.command, ...place.args].map((part, i) => `${i === 0 ? 'Program' : `Argument ${i}`}: ${visible(part)}`),
    ...(place.folder === undefined ? [] : [`Folder: ${visible(place.folder)}`]),
    ...Object.entries(environment).map(([name, value]) => `Variable ${name}: ${visible(value)}`),
    ...(draft.authentication === 'environment' ? [`Variable ${draft.detail ?? ''}: the secret`] : []),
  ];
  const choice = await vscode.window.showWarningMessage(
    `Start this command ${where}?`,
    {
      modal: true,
      detail: `${lines.join('\n')}\n\nIt runs with your rights whenever an agent uses ${draft.label ?? 'the server'}. Start only what you trust.`,
    },
    'Start',
  );
  if (choice !== 'Start') return undefined;
  draft.confirmed = commandDigest(place);
  return placeOf(draft);
}
