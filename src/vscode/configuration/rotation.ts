import * as vscode from 'vscode';
import { cloudFolderOf, inHistory, systemGit } from '../../configuration/exposure.ts';
import type { Disposable } from '../../common/disposable.ts';
import type { App } from '../app.ts';
import { ROTATE_RULE } from '../views/leakTexts.ts';
import type { Imported } from './importServers.ts';
import type { SecretRules } from './secretRules.ts';

/** Says which sealed values others may have: they stand in the history of a repository, or in a folder that is copied elsewhere. */
export async function noteRotations(app: App, { plan, picked }: Imported, { pageOf }: SecretRules): Promise<void> {
  const files = [
    ...plan.writes.map(({ file }) => file.facts.target),
    ...(plan.texts ?? []).map(({ file }) => file.target),
    ...picked.flatMap(({ environmentFile }) => environmentFile?.path ?? []),
  ];
  const values = new Map(plan.seals.flatMap(({ name, value }) => (value ? [[value.reveal(), name] as const] : [])));
  if (values.size === 0) return;
  const reasons = new Map<string, { readonly form: string; readonly page: string | undefined }>();
  for (const path of new Set(files)) {
    const cloud = cloudFolderOf(path);
    const old = vscode.workspace.isTrusted ? await inHistory(path, [...values.keys()], systemGit) : new Set<string>();
    for (const [value, name] of values) {
      const form = old.has(value)
        ? 'in the history of version control'
        : cloud === undefined
          ? undefined
          : `in a file that ${cloud} copies`;
      if (form !== undefined) reasons.set(name, { form, page: pageOf(value) });
    }
  }
  for (const [name, { form, page }] of reasons) {
    const server = plan.registers.find(({ seals }) => seals.some((id) => plan.seals.some((seal) => seal.id === id && seal.name === name)));
    app.core.findings.add(
      [
        {
          rule: ROTATE_RULE,
          severity: 'high',
          subject: name,
          direction: 'to-agent',
          form,
          action: 'reported',
          tier: 'notice',
          ...(page === undefined ? {} : { path: page }),
        },
      ],
      { server: server?.serverId ?? '', tool: undefined, exchange: '' },
    );
  }
  if (reasons.size > 0) void warn([...reasons]);
}

async function warn(
  reasons: readonly (readonly [name: string, { readonly form: string; readonly page: string | undefined }])[],
): Promise<void> {
  const names = reasons.map(([name]) => name).join(', ');
  const page = reasons.find(([, reason]) => reason.page !== undefined)?.[1].page;
  const open = 'Open the Provider’s Page';
  const choice = await vscode.window.showWarningMessage(
    `${names}: the old value stands ${reasons[0]?.[1].form ?? ''}, so others may have it. Make a new one at the provider, revoke the old one, and enter it with “Culvert: Replace Credential…”. Leak Warnings keeps this until you dismiss it.`,
    ...(page === undefined ? [] : [open]),
  );
  if (choice === open && page !== undefined) await vscode.env.openExternal(vscode.Uri.parse(page));
}

/** Takes such findings off the list when the credential was replaced: then it is done. */
export function followRotations(app: App): Disposable {
  const { credentials, findings } = app.core;
  return credentials.onDidChange(() => {
    for (const finding of findings.list({ dismissed: false })) {
      if (finding.rule !== ROTATE_RULE) continue;
      const credential = credentials.list().find(({ name }) => name === finding.subject);
      if ((credential?.replacedAt ?? 0) > finding.lastAt) findings.setDismissed(finding.id, true);
    }
  });
}
