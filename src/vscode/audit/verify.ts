import * as vscode from 'vscode';
import type { Intent } from '../../audit/record.ts';
import type { App } from '../app.ts';
import type { RecordDocuments } from '../recordDocument.ts';
import { counted, withShare } from './progress.ts';
import { entryText, intentText, verificationText } from './verifyReport.ts';

/** Calls without an end that are named with what they were. */
const MAX_NAMED = 50;

/** **Culvert: Verify Audit History** Says whether it holds, and if not, which entry and where. */
export async function verifyAudit(app: App, documents: RecordDocuments, log: vscode.LogOutputChannel): Promise<void> {
  const { core } = app;
  const result = await withShare('Culvert: verifying the audit history…', async ({ signal, onProgress }) => {
    // Signing may fail, with the keyring or the database: all the more is to be looked at.
    await core.audit.checkpoint().catch((error: unknown) => log.warn(`Before the verification: ${String(error)}`));
    return core.audit.verify(signal, onProgress);
  });
  if (!result) return;
  const { entries, problems, endings } = result;
  core.act({ act: 'verified', detail: problems.length === 0 ? `${entries} entries hold` : counted(problems.length, 'problem') });
  for (const problem of problems) log.error(`Audit: ${problem}`);
  const crashed = endings.filter(({ how }) => how === 'crashed').length;
  const said =
    problems.length === 0
      ? `The audit history holds: ${counted(entries, 'entry', 'entries')} in ${counted(result.chains, 'chain')}, ${counted(result.checkpoints, 'signed checkpoint')}.${crashed > 0 ? ` ${counted(crashed, 'window')} broke off without closing; that is no tampering.` : ''}`
      : `The audit history was changed: ${problems[0] ?? ''}${problems.length > 1 ? ` And ${problems.length - 1} more.` : ''}`;
  const show = async () => {
    const calls = new Map<string, string>();
    for (const exchange of endings.flatMap(({ exchanges }) => exchanges).slice(0, MAX_NAMED)) {
      const intent = (await core.index.record(exchange)).find(({ kind }) => kind === 'intent');
      if (intent) calls.set(exchange, intentText(intent.body as Intent, intent.at));
    }
    const text = verificationText(result, {
      at: Date.now(),
      thumbprint: await core.record.thumbprint(),
      describe: (seq) => {
        try {
          const [entry] = core.audit.at([seq]);
          return entry && entryText(entry);
        } catch {
          return 'nothing that can be read';
        }
      },
      call: (exchange) => calls.get(exchange),
    });
    await documents.showDetails('Verification of the audit history', text);
  };
  // What was found wrong is shown at once; that all is well can be looked at.
  if (problems.length > 0) await show();
  const choice =
    problems.length > 0
      ? await vscode.window.showErrorMessage(said, 'Show Log')
      : await vscode.window.showInformationMessage(said, 'Show Details');
  if (choice === 'Show Log') log.show();
  if (choice === 'Show Details') await show();
}
