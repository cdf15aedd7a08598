/** Every name that package.json and code share. test/unit/manifest.test.ts holds both against this list. */

export const COMMANDS = {
  addServer: 'culvert.addServer',
  editServer: 'culvert.editServer',
  removeServer: 'culvert.removeServer',
  importServers: 'culvert.importServers',
  undoImport: 'culvert.undoImport',
  sealMissing: 'culvert.sealMissing',
  reviewDrift: 'culvert.reviewDrift',
  routeEntry: 'culvert.routeEntry',
  secretRoute: 'culvert.secret.route',
  secretReference: 'culvert.secret.reference',
  secretIgnore: 'culvert.secret.ignore',
  secretComment: 'culvert.secret.comment',
  toggleToolAccess: 'culvert.toggleToolAccess',
  allowTool: 'culvert.allowTool',
  revoke: 'culvert.revoke',
  setServerAccess: 'culvert.setServerAccess',
  findTool: 'culvert.findTool',
  startTask: 'culvert.startTask',
  endTask: 'culvert.endTask',
  editGrant: 'culvert.editGrant',
  explainLastDenial: 'culvert.explainLastDenial',
  rehearsePolicy: 'culvert.rehearsePolicy',
  reviewAccess: 'culvert.reviewAccess',
  pause: 'culvert.pause',
  resume: 'culvert.resume',
  answerWaiting: 'culvert.answerWaiting',
  signIn: 'culvert.signIn',
  switchAccount: 'culvert.switchAccount',
  addCredential: 'culvert.addCredential',
  replaceCredential: 'culvert.replaceCredential',
  testCredential: 'culvert.testCredential',
  forgetCredential: 'culvert.forgetCredential',
  handSecrets: 'culvert.handSecrets',
  verifyAudit: 'culvert.verifyAudit',
  exportAudit: 'culvert.exportAudit',
  importAudit: 'culvert.importAudit',
  evidenceReport: 'culvert.evidenceReport',
  startExport: 'culvert.startExport',
  stopExport: 'culvert.stopExport',
  setExportSecret: 'culvert.setExportSecret',
  placeHold: 'culvert.placeHold',
  liftHold: 'culvert.liftHold',
  reviewChanges: 'culvert.reviewChanges',
  showLog: 'culvert.showLog',
  retry: 'culvert.retry',
  setDatabaseAside: 'culvert.setDatabaseAside',
  toolAllow: 'culvert.tool.allow',
  toolAllowShort: 'culvert.tool.allowShort',
  toolAsk: 'culvert.tool.ask',
  toolDeny: 'culvert.tool.deny',
  serverNothing: 'culvert.server.nothing',
  serverReading: 'culvert.server.reading',
  serverAsk: 'culvert.server.ask',
  serverTask: 'culvert.server.task',
  grantRevoke: 'culvert.grant.revoke',
  toggleRow: 'culvert.toggleRow',
  showRecord: 'culvert.showRecord',
  loadMore: 'culvert.loadMore',
  filterActivity: 'culvert.filterActivity',
  clearActivityFilter: 'culvert.clearActivityFilter',
  showPanel: 'culvert.showPanel',
  replayCall: 'culvert.replayCall',
  revokeCallAccess: 'culvert.revokeCallAccess',
  copyRedacted: 'culvert.copyRedacted',
  openRecordTarget: 'culvert.openRecordTarget',
  dismissFinding: 'culvert.dismissFinding',
  restoreFinding: 'culvert.restoreFinding',
  openFinding: 'culvert.openFinding',
  explainFinding: 'culvert.explainFinding',
  notASecret: 'culvert.notASecret',
  rotateCredential: 'culvert.rotateCredential',
  revokeFindingAccess: 'culvert.revokeFindingAccess',
  markLeaksRead: 'culvert.markLeaksRead',
  reviewLeakDecisions: 'culvert.reviewLeakDecisions',
  plantCanary: 'culvert.plantCanary',
  removeCanary: 'culvert.removeCanary',
} as const;
export type CommandId = (typeof COMMANDS)[keyof typeof COMMANDS];

/** Commands that only make sense on an item of a view; hidden from the palette. */
export const ITEM_COMMANDS: readonly CommandId[] = [
  COMMANDS.toolAllow,
  COMMANDS.toolAllowShort,
  COMMANDS.toolAsk,
  COMMANDS.toolDeny,
  COMMANDS.serverNothing,
  COMMANDS.serverReading,
  COMMANDS.serverAsk,
  COMMANDS.serverTask,
  COMMANDS.grantRevoke,
  COMMANDS.toggleRow,
  COMMANDS.showRecord,
  COMMANDS.loadMore,
  COMMANDS.openRecordTarget,
  COMMANDS.dismissFinding,
  COMMANDS.routeEntry,
  COMMANDS.secretRoute,
  COMMANDS.secretReference,
  COMMANDS.secretIgnore,
  COMMANDS.secretComment,
  COMMANDS.restoreFinding,
  COMMANDS.openFinding,
  COMMANDS.explainFinding,
  COMMANDS.notASecret,
  COMMANDS.rotateCredential,
  COMMANDS.revokeFindingAccess,
];

export const VIEWS = {
  grants: 'culvert.grants',
  activity: 'culvert.activity',
  leaks: 'culvert.leakWarnings',
  credentials: 'culvert.credentials',
  panel: 'culvert.panel',
} as const;

export const CONTEXT = {
  /** `starting`, `ready`, `off` or `failed`. */
  state: 'culvert.state',
  hasServers: 'culvert.hasServers',
  hasTools: 'culvert.hasTools',
  hasGrants: 'culvert.hasGrants',
  hasCredentials: 'culvert.hasCredentials',
  hasTask: 'culvert.hasTask',
  /** Something was called; something was denied. */
  hasCalls: 'culvert.hasCalls',
  hasDenial: 'culvert.hasDenial',
  /** A legal hold is in place; a streaming export runs; one names a secret. */
  hasHolds: 'culvert.hasHolds',
  exportsRun: 'culvert.exportsRun',
  exportSecrets: 'culvert.exportSecrets',
  unreadLeaks: 'culvert.unreadLeaks',
  leakDecisions: 'culvert.leakDecisions',
  canaries: 'culvert.canaries',
  /** Somebody signed in, or could. */
  hasSignIns: 'culvert.hasSignIns',
  paused: 'culvert.paused',
  waiting: 'culvert.waiting',
  /** The activity view shows only some calls. */
  activityFiltered: 'culvert.activityFiltered',
  /** Stored entries were changed from outside. */
  tampered: 'culvert.tampered',
  /** A server that this workspace names waits for a credential. */
  missingCredentials: 'culvert.missingCredentials',
  /** Something in a configuration leads past Culvert. */
  hasDrift: 'culvert.hasDrift',
  /** An import of this window can be undone. */
  canUndoImport: 'culvert.canUndoImport',
  /** Steps of the walkthrough that are done. */
  allowedTool: 'culvert.allowedTool',
  calledTool: 'culvert.calledTool',
  sawRedaction: 'culvert.sawRedaction',
  /** Setting the database aside would help. */
  canSetAside: 'culvert.canSetAside',
} as const;

export const SETTINGS = {
  policyRules: 'culvert.policy.rules',
  policyMode: 'culvert.policy.mode',
  approvalTimeoutSeconds: 'culvert.approvalTimeoutSeconds',
  confirmations: 'culvert.confirmations',
  definition: 'culvert.definition',
  listen: 'culvert.listen',
  auditArguments: 'culvert.audit.arguments',
  auditResults: 'culvert.audit.results',
  auditExports: 'culvert.audit.exports',
  auditRetentionDays: 'culvert.audit.retentionDays',
  auditRetentionMegabytes: 'culvert.audit.retentionMegabytes',
  requestMegabytes: 'culvert.limits.requestMegabytes',
  streamsPerAgent: 'culvert.limits.streamsPerAgent',
  signInCallback: 'culvert.signIn.callback',
  clientDocument: 'culvert.signIn.clientMetadataUrl',
  leakTiers: 'culvert.leaks.tiers',
  leakServers: 'culvert.leaks.servers',
  leakRuleFiles: 'culvert.leaks.ruleFiles',
  leakIgnoredRules: 'culvert.leaks.ignoredRules',
  leakSecretlint: 'culvert.leaks.secretlint',
  configurationIgnore: 'culvert.configuration.ignore',
  notSecrets: 'culvert.configuration.notSecrets',
} as const;

/** Settings that a workspace may have too: there they only make things stricter (`effectiveLeakPolicy`). */
export const WORKSPACE_SETTINGS: readonly string[] = [
  SETTINGS.leakTiers,
  SETTINGS.leakServers,
  SETTINGS.leakRuleFiles,
  SETTINGS.leakSecretlint,
];

/** Id of the MCP server definition provider. */
export const PROVIDER_ID = 'culvert';

/** Values of `contextValue` of tree items; menus in package.json match them. */
export const ITEMS = {
  server: 'server',
  tool: 'tool',
  wide: 'wide',
  grant: 'grant',
  call: 'call',
  finding: 'finding',
  leakGroup: 'leakGroup',
  conversation: 'conversation',
  credential: 'credential',
} as const;

/** Scheme of the documents that show a record. */
export const RECORD_SCHEME = 'culvert-audit';

/** Scheme of the documents that show an edit before it is made. */
export const IMPORT_SCHEME = 'culvert-import';

/** Scheme of the documents in which a grant is edited. */
export const GRANT_SCHEME = 'culvert-grant';

/** Languages of the documents that Culvert shows: a record, and text that a server or an agent wrote. */
export const LANGUAGES = { record: 'culvert-audit', output: 'culvert-output' } as const;

/** Path of the editor’s own address to which the browser comes back from a sign-in. */
export const SIGN_IN_PATH = '/signed-in';
