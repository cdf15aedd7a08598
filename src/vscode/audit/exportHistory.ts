import * as vscode from 'vscode';
import { basename } from 'node:path';
import { cefOf } from '../../audit/export/cef.ts';
import type { AuditEvent } from '../../audit/export/event.ts';
import { ocsfOf } from '../../audit/export/ocsf.ts';
import { reviewExport } from '../../audit/export/review.ts';
import { systemClock } from '../../common/clock.ts';
import type { App } from '../app.ts';
import type { RecordDocuments } from '../recordDocument.ts';
import { askChoice, single } from '../steps.ts';
import { askWhere, openFile, writeAll } from './files.ts';
import { askPeriod, dateOf } from './period.ts';
import { count, withShare, type Work } from './progress.ts';
import { reviewText } from './verifyReport.ts';

type Form = 'jsonl' | 'ocsf' | 'cef';

const FORMS: Readonly<Record<Form, { readonly label: string; readonly detail: string; readonly end: string }>> = {
  jsonl: {
    label: 'JSON Lines, signed',
    detail: 'Every entry, the signed checkpoints and the public key. Can be verified without Culvert (scripts/verify-audit.mjs).',
    end: 'jsonl',
  },
  ocsf: { label: 'OCSF', detail: 'API Activity, one event a line, for data lakes and SIEMs. Not signed.', end: 'ocsf.jsonl' },
  cef: { label: 'CEF', detail: 'Common Event Format, one event a line, for SIEMs. Not signed.', end: 'cef' },
};

/** **Culvert: Export Audit History…** */
export async function exportAudit(app: App, version: string): Promise<void> {
  const title = 'Culvert: Export Audit History';
  const form = await askChoice(
    single(title),
    'In which form?',
    (Object.keys(FORMS) as Form[]).map((value) => ({ label: FORMS[value].label, detail: FORMS[value].detail, value })),
  );
  if (form.kind !== 'value') return;
  const period = await askPeriod(title, Date.now());
  if (!period) return;
  const { end } = FORMS[form.value];
  const path = await askWhere(title, `culvert-audit-${period.all ? dateOf(Date.now()) : period.name.replaceAll(' ', '-')}.${end}`, {
    [FORMS[form.value].label]: [end.split('.').at(-1) ?? end],
  });
  if (path === undefined) return;
  const { core } = app;
  const written = await withShare(`Culvert: exporting the audit history…`, async (work) => {
    if (form.value === 'jsonl' && period.all) return writeAll(path, core.record.lines(work));
    const { low, high } = await core.record.span(period, work.signal);
    if (low === undefined || high === undefined) return 0;
    const span = { from: low, to: high, ...tools(work) };
    return writeAll(path, form.value === 'jsonl' ? core.record.lines(span) : linesOf(core.record.events(span), form.value, version));
  });
  if (written === undefined) return;
  if (written === 0) {
    void vscode.window.showInformationMessage('Nothing is on record for this period, so nothing was exported.');
    return;
  }
  core.act({ act: 'exported', subject: FORMS[form.value].label, detail: `${period.name}, to ${basename(path)}` });
  const what = form.value === 'jsonl' ? 'lines' : 'events';
  const choice = await vscode.window.showInformationMessage(
    `${count(written)} ${what} of the audit history were exported to ${basename(path)}.`,
    'Show File',
    ...(form.value === 'jsonl' ? ['Copy Key'] : []),
  );
  if (choice === 'Show File') await openFile(path);
  if (choice === 'Copy Key') await vscode.env.clipboard.writeText(await core.record.thumbprint());
}

function tools({ signal, onProgress }: Work): Work {
  return { signal, onProgress };
}

async function* linesOf(events: AsyncIterable<AuditEvent>, form: 'ocsf' | 'cef', version: string): AsyncGenerator<string> {
  for await (const event of events) yield `${form === 'cef' ? cefOf(event, version) : JSON.stringify(ocsfOf(event, version))}\n`;
}

/** **Culvert: Import Audit Export for Review…** Shows what is in it, read-only, and whether it holds. */
export async function importAudit(app: App, documents: RecordDocuments): Promise<void> {
  const [uri] =
    (await vscode.window.showOpenDialog({
      title: 'Culvert: Import Audit Export for Review',
      openLabel: 'Review',
      canSelectMany: false,
      filters: { 'Culvert export': ['jsonl'], 'All files': ['*'] },
    })) ?? [];
  if (!uri) return;
  if (uri.scheme !== 'file') throw new Error('It can be read only from a folder of the machine that Culvert runs on. Copy it there.');
  const file = basename(uri.fsPath);
  const review = await withShare(`Culvert: reading ${file}…`, (work) => reviewExport(uri.fsPath, systemClock, work));
  if (!review) return;
  const { problems } = review.verification;
  app.core.act({
    act: 'imported',
    subject: file,
    detail: `${review.imported.entries} entries, ${problems.length === 0 ? 'they hold' : `${problems.length} problems`}`,
  });
  const text = reviewText(review, { file, at: Date.now(), own: await app.core.record.thumbprint() });
  await documents.showDetails(`Review of ${file}`, text);
}
