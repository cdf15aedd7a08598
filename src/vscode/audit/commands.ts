import * as vscode from 'vscode';
import type { App } from '../app.ts';
import { COMMANDS } from '../names.ts';
import type { RecordDocuments } from '../recordDocument.ts';
import { createEvidenceReport } from './evidence.ts';
import { exportAudit, importAudit } from './exportHistory.ts';
import { liftHold, placeHold } from './holds.ts';
import { tellPalette } from './palette.ts';
import { recordSettings } from './settingsOnRecord.ts';
import { setExportSecret, startExport, stopExport, watchExports } from './streams.ts';
import { verifyAudit } from './verify.ts';

/** What the commands around the record need beside the app. */
export interface AuditCommandContext {
  readonly documents: RecordDocuments;
  readonly log: vscode.LogOutputChannel;
  /** Culvert’s version. */
  readonly version: string;
}

/** The commands around the record, by their id. `withApp` makes one that runs once everything is open. */
export function auditCommands(
  { documents, log, version }: AuditCommandContext,
  withApp: (run: (app: App) => unknown) => () => Promise<void>,
) {
  return {
    [COMMANDS.verifyAudit]: withApp((app) => verifyAudit(app, documents, log)),
    [COMMANDS.exportAudit]: withApp((app) => exportAudit(app, version)),
    [COMMANDS.importAudit]: withApp((app) => importAudit(app, documents)),
    [COMMANDS.evidenceReport]: withApp((app) => createEvidenceReport(app, version)),
    [COMMANDS.startExport]: withApp((app) => startExport(app)),
    [COMMANDS.stopExport]: withApp((app) => stopExport(app)),
    [COMMANDS.setExportSecret]: withApp((app) => setExportSecret(app)),
    [COMMANDS.placeHold]: withApp((app) => placeHold(app)),
    [COMMANDS.liftHold]: withApp((app) => liftHold(app)),
  };
}

/** What goes on around the record while a window is open: settings are recorded, exports run, and the user hears of what went wrong. */
export function keepRecord(app: App): vscode.Disposable {
  const watching = watchExports(app);
  const palette = tellPalette(app);
  const warnings = app.core.record.onDidWarn((text) => void vscode.window.showWarningMessage(text));
  return vscode.Disposable.from(watching, palette, warnings, recordSettings(app));
}
