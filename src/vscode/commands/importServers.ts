import type { App } from '../app.ts';
import type { SecretAddress } from '../configuration/secretActions.ts';
import type { EntryAddress } from '../configuration/serverLenses.ts';
import { COMMANDS } from '../names.ts';

/** Commands about other clients' configurations. */
export const importHandlers = {
  [COMMANDS.importServers]: (app: App) => app.configuration.importServers(),
  [COMMANDS.undoImport]: (app: App) => app.configuration.undoImport(),
  [COMMANDS.sealMissing]: (app: App) => app.configuration.sealMissing(),
  [COMMANDS.reviewDrift]: (app: App) => app.configuration.reviewDrift(),
  [COMMANDS.routeEntry]: (app: App, entry: EntryAddress) => app.configuration.routeEntry(entry),
  [COMMANDS.secretRoute]: (app: App, secret: SecretAddress) => app.configuration.routeSecret(secret),
  [COMMANDS.secretReference]: (app: App, secret: SecretAddress) => app.configuration.sealInPlace(secret),
  [COMMANDS.secretIgnore]: (app: App, secret: SecretAddress) => app.configuration.rememberNotSecret(secret),
  [COMMANDS.secretComment]: (app: App, secret: SecretAddress) => app.configuration.commentNotSecret(secret),
} as const;
