import * as vscode from 'vscode';
import { createHash } from 'node:crypto';
import type { RetentionPolicy } from '../audit/retention.ts';
import { Emitter } from '../common/disposable.ts';
import type { Logger } from '../common/logger.ts';
import type { SecretStore } from '../credentials/vault.ts';
import type { Limits } from '../tunnel/limits.ts';
import type { ProxyEnvironment } from '../upstream/proxies.ts';
import type { Principal } from '../mcp/principal.ts';
import { SETTINGS } from './names.ts';

/** SecretStorage of the extension as the vault wants it. */
export function secretStoreOf(secrets: vscode.SecretStorage, subscriptions: vscode.Disposable[]): SecretStore {
  const changed = new Emitter<string>();
  subscriptions.push(
    secrets.onDidChange((event) => changed.fire(event.key)),
    changed,
  );
  return {
    get: async (key) => secrets.get(key),
    store: async (key, value) => secrets.store(key, value),
    delete: async (key) => secrets.delete(key),
    onDidChange: changed.event,
  };
}

/** The log channel, as a logger of the core. */
export function loggerOf(channel: vscode.LogOutputChannel): Logger {
  return {
    debug: (message) => channel.debug(message),
    info: (message) => channel.info(message),
    warn: (message) => channel.warn(message),
    error: (message) => channel.error(message),
  };
}

/** The workspace of this window: an id that stays the same for the same folders, and a name for showing. */
export function currentWorkspace(): Pick<Principal, 'workspace' | 'workspaceName'> {
  const uris = vscode.workspace.workspaceFile
    ? [vscode.workspace.workspaceFile]
    : (vscode.workspace.workspaceFolders ?? []).map((f) => f.uri);
  const name = vscode.workspace.name;
  if (uris.length === 0 || name === undefined) return {};
  const id = createHash('sha256')
    .update(uris.map((u) => u.toString()).join('\n'))
    .digest('hex')
    .slice(0, 32);
  return { workspace: id, workspaceName: name };
}

/** Settings with their defaults. All are of application scope: a workspace can't change them. */
export const settings = {
  approvalTimeoutMs(): number {
    const seconds = vscode.workspace.getConfiguration().get<number>(SETTINGS.approvalTimeoutSeconds, 55);
    return Math.min(600, Math.max(5, Number.isFinite(seconds) ? seconds : 55)) * 1000;
  },
  culvertConfirms: (): boolean => vscode.workspace.getConfiguration().get<string>(SETTINGS.confirmations, 'culvert') !== 'both',
  definition: (): 'bridge' | 'http' =>
    vscode.workspace.getConfiguration().get<string>(SETTINGS.definition, 'bridge') === 'http' ? 'http' : 'bridge',
  listen: (): 'socket' | 'loopback' =>
    vscode.workspace.getConfiguration().get<string>(SETTINGS.listen, 'socket') === 'loopback' ? 'loopback' : 'socket',
  recordArguments: (): boolean => vscode.workspace.getConfiguration().get<string>(SETTINGS.auditArguments, 'redacted') !== 'digest',
  recordResults(): 'off' | 'digest' | 'redacted' {
    const value = vscode.workspace.getConfiguration().get<string>(SETTINGS.auditResults, 'digest');
    return value === 'off' || value === 'redacted' ? value : 'digest';
  },
  /** What of the record is kept; zero, or anything else that is no bound, keeps all. */
  retention(): RetentionPolicy {
    const read = (key: string) => {
      const value = vscode.workspace.getConfiguration().get<number>(key, 0);
      return Number.isInteger(value) && value > 0 ? value : undefined;
    };
    const [days, megabytes] = [read(SETTINGS.auditRetentionDays), read(SETTINGS.auditRetentionMegabytes)];
    return {
      ...(days === undefined ? {} : { maxDays: days }),
      ...(megabytes === undefined ? {} : { maxBytes: megabytes * 1024 * 1024 }),
    };
  },
  limits(): Pick<Limits, 'requestBytes' | 'streamsPerClient'> {
    const read = (key: string, standard: number, max: number) => {
      const value = vscode.workspace.getConfiguration().get<number>(key, standard);
      return Number.isInteger(value) && value >= 1 && value <= max ? value : standard;
    };
    return {
      requestBytes: read(SETTINGS.requestMegabytes, 16, 256) * 1024 * 1024,
      streamsPerClient: read(SETTINGS.streamsPerAgent, 64, 1000),
    };
  },
  /** How the browser comes back from a sign-in. */
  signInCallback(): 'automatic' | 'loopback' | 'editor' {
    const value = vscode.workspace.getConfiguration().get<string>(SETTINGS.signInCallback, 'automatic');
    return value === 'loopback' || value === 'editor' ? value : 'automatic';
  },
  /** Where the organisation hosts Culvert’s client metadata document; `undefined` if it doesn’t. */
  clientDocumentUrl(): string | undefined {
    const value = vscode.workspace.getConfiguration().get<string>(SETTINGS.clientDocument, '').trim();
    return value === '' ? undefined : value;
  },
  /** Proxies: the editor's own settings, else those of the environment. */
  proxies(): ProxyEnvironment {
    const configuration = vscode.workspace.getConfiguration('http');
    if (configuration.get<string>('proxySupport') === 'off') return {};
    const proxy = configuration.get<string>('proxy', '');
    if (proxy === '') return process.env;
    return { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: configuration.get<string[]>('noProxy', []).join(',') };
  },
  /** The editor's own switch for MCP, set by the user or an organisation. */
  mcpOff: (): boolean =>
    vscode.workspace.getConfiguration('chat').get<string>('mcp.access') === 'none' ||
    vscode.workspace.getConfiguration('chat').get<boolean>('disableAIFeatures') === true,
};

/** Sets a context key for `when` clauses. */
export function setContext(key: string, value: unknown): void {
  void vscode.commands.executeCommand('setContext', key, value);
}
