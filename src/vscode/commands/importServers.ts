import type { App } from '../app.ts';
import { COMMANDS } from '../names.ts';

/** Commands about other clients' configurations. */
export const importHandlers = {
  [COMMANDS.importServers]: (app: App) => app.configuration.importServers(),
  [COMMANDS.undoImport]: (app: App) => app.configuration.undoImport(),
} as const;
