import * as vscode from 'vscode';
import { visible } from '../../common/text.ts';
import { CLIENTS } from '../../configuration/clients.ts';
import type { FoundCredential } from '../../configuration/credentials.ts';
import { describeEntry } from '../../configuration/entry.ts';
import { fileName, refuseWrite } from '../../configuration/files.ts';
import type { FoundServer, ScanResult } from '../../configuration/scan.ts';
import { withoutIcons } from '../steps.ts';

/** Credentials of one server that its row names. */
const SHOWN_CREDENTIALS = 4;

interface ServerRow extends vscode.QuickPickItem {
  readonly server?: FoundServer;
}

/** What is in the way of importing a server, as a sentence; `undefined` if nothing is. */
export function obstacleOf({ bridged, entry, file }: FoundServer): string | undefined {
  if (bridged !== undefined) return 'It goes through Culvert already.';
  if (entry.transport === 'unknown') return 'It has neither a URL nor a command that Culvert could start.';
  return (entry.obstacle ?? refuseWrite(file))?.message;
}

/** How a server authenticates so far, in words. */
export function authenticationOf(server: FoundServer): string {
  const { credentials, environmentFile } = server;
  const kinds = new Set(
    credentials.map(({ source, placement, where }) => {
      const how =
        placement === undefined
          ? where === 'url-path'
            ? 'its address'
            : 'an argument'
          : placement.kind === 'header' || placement.kind === 'environment'
            ? `${placement.kind === 'header' ? 'header' : 'variable'} ${placement.name}`
            : placement.kind === 'query'
              ? `parameter ${placement.name}`
              : placement.kind === 'basic'
                ? 'user and password'
                : 'bearer token';
      return source === 'reference' ? `${how}, by reference` : how;
    }),
  );
  if ((environmentFile?.secrets.length ?? 0) > 0) kinds.add(`variables of ${fileName(environmentFile?.path ?? '')}`);
  return kinds.size === 0 ? 'no credential' : [...kinds].join(', ');
}

function plaintextOf({ credentials, environmentFile }: FoundServer): string[] {
  const own = credentials.filter(({ source }) => source === 'plaintext').map(evidenceOf);
  return [...own, ...(environmentFile?.secrets ?? []).map(({ pair, evidence }) => `${pair.name} ${evidence}`)];
}

const evidenceOf = ({ name, evidence }: FoundCredential): string => `${name} ${evidence}`;

function rowOf(server: FoundServer): ServerRow {
  const { entry } = server;
  const plain = plaintextOf(server);
  const shown = plain.slice(0, SHOWN_CREDENTIALS).join(', ');
  const more = plain.length > SHOWN_CREDENTIALS ? ` and ${plain.length - SHOWN_CREDENTIALS} more` : '';
  return {
    label: withoutIcons(visible(entry.name, 60)),
    description: withoutIcons(`${describeEntry(entry).replace(/^.*?\): /s, '')} · ${authenticationOf(server)}`),
    ...(plain.length > 0 ? { detail: `$(warning) in plaintext: ${withoutIcons(visible(`${shown}${more}`, 200))}` } : {}),
    picked: plain.length > 0,
    server,
  };
}

/** Rows for every server that can be imported, one group a file. */
function rowsFor(servers: readonly FoundServer[]): ServerRow[] {
  const rows: ServerRow[] = [];
  let group = '';
  for (const server of servers) {
    const { path } = server.file.location;
    const heading = `${CLIENTS[server.entry.client].label} · ${vscode.workspace.asRelativePath(path)}`;
    if (heading !== group) rows.push({ label: heading, kind: vscode.QuickPickItemKind.Separator });
    group = heading;
    rows.push(rowOf(server));
  }
  return rows;
}

/** What can't be imported, and why: for a document. */
export function explainRest({ servers, problems }: ScanResult): string[] {
  return [
    ...servers.flatMap((server) => {
      const obstacle = obstacleOf(server);
      return obstacle === undefined ? [] : [`${describeEntry(server.entry)}, in ${server.entry.file}\n    ${obstacle}`];
    }),
    ...problems.map(({ location, problem }) => `${location.path}\n    ${problem.message}`),
  ];
}

/** What the user picked; `undefined` if nothing. */
export function pickServers(result: ScanResult, title: string, showRest: () => void): Promise<readonly FoundServer[] | undefined> {
  const rows = rowsFor(result.servers.filter((server) => obstacleOf(server) === undefined));
  const rest = explainRest(result).length;
  return new Promise((resolve) => {
    const pick = vscode.window.createQuickPick<ServerRow>();
    const why: vscode.QuickInputButton = { iconPath: new vscode.ThemeIcon('info'), tooltip: `${rest} that can’t be imported, and why` };
    pick.title = title;
    pick.placeholder = 'Which servers shall go through Culvert? Nothing is changed before you have seen the edit.';
    pick.canSelectMany = true;
    pick.matchOnDescription = true;
    pick.matchOnDetail = true;
    pick.ignoreFocusOut = true;
    pick.items = rows;
    pick.selectedItems = rows.filter((row) => row.picked === true);
    if (rest > 0) pick.buttons = [why];
    pick.onDidTriggerButton(showRest);
    let chosen: readonly FoundServer[] | undefined;
    pick.onDidAccept(() => {
      chosen = pick.selectedItems.flatMap(({ server }) => server ?? []);
      pick.hide();
    });
    pick.onDidHide(() => {
      pick.dispose();
      resolve(chosen?.length === 0 ? undefined : chosen);
    });
    pick.show();
  });
}
