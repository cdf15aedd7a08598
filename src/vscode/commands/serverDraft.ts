import { Placement, describePlacement } from '../../credentials/credential.ts';
import type { Secret } from '../../credentials/secret.ts';
import type { PlainHeaders, Server, Tls, UpstreamPlace } from '../../mcp/server.ts';
import { formatCommandLine, parseCommandLine } from '../../upstream/commandLine.ts';
import type { SignInDraft, SignInSetup } from './signInSetup.ts';
import type { SourceDraft } from './sourceSteps.ts';

/** Where a server is, in the words of the dialog. */
export type Reach = 'url' | 'command' | 'ssh-command' | 'ssh-url';

/** How a server is authenticated at; `sign-in`: by browser, at an authorization server. */
export type Authentication = 'none' | 'sign-in' | Placement['kind'];

/** What the dialog has gathered so far. Kept while steps go back and forth, so that nothing typed is lost. */
export interface Draft {
  label?: string;
  reach?: Reach;
  /** Host or alias for `ssh`. */
  ssh?: string;
  url?: string;
  /** Found out by trying: servers of the older transport are spoken to otherwise. */
  transport?: 'http' | 'sse';
  tls?: Tls;
  /** Headers without secrets. */
  headers?: PlainHeaders;
  commandLine?: string;
  folder?: string;
  /** Digest of the command that the user confirmed. */
  confirmed?: string;
  authentication?: Authentication;
  /** Header name, user name, parameter or variable name. */
  detail?: string;
  secret?: Secret;
  /** Id of the credential that the user signed in. */
  signIn?: string;
  /** What that sign-in was set up by. */
  signInBy?: SignInSetup;
  /** Whether it is more than a sign-in by browser as the server says, and what was gathered for that. */
  signInAs?: boolean;
  signInDraft?: SignInDraft;
  signInSetup?: SignInSetup;
  /** What the server said when it refused a trial. */
  challenge?: string;
  /** Whether the secret comes from elsewhere, and from where. */
  elsewhere?: boolean;
  source?: SourceDraft;
}

/** Whether the server is a command, here or on another machine. */
export function isCommand({ reach }: Draft): boolean {
  return reach === 'command' || reach === 'ssh-command';
}

/** The place that a draft describes. Throws Error if it is not complete. */
export function placeOf(draft: Draft): UpstreamPlace {
  const ssh = (draft.reach === 'ssh-command' || draft.reach === 'ssh-url') && draft.ssh !== undefined ? { ssh: draft.ssh } : {};
  if (!isCommand(draft)) {
    const tls = draft.tls && Object.keys(draft.tls).length > 0 ? { tls: draft.tls } : {};
    const headers = draft.headers && Object.keys(draft.headers).length > 0 ? { headers: draft.headers } : {};
    return { kind: draft.transport ?? 'http', url: draft.url ?? '', ...headers, ...tls, ...ssh };
  }
  const line = parseCommandLine(draft.commandLine ?? '');
  if (typeof line === 'string') throw new Error(line);
  const { command, args, environment } = line;
  return {
    kind: 'stdio',
    command,
    args,
    ...(draft.folder === undefined ? {} : { folder: draft.folder }),
    ...(Object.keys(environment).length > 0 ? { environment } : {}),
    ...ssh,
    ...(draft.confirmed === undefined ? {} : { confirmed: draft.confirmed }),
  };
}

/** A draft that describes a server as it is. */
export function draftOf({ label, upstream }: Server): Draft {
  const ssh = upstream.ssh === undefined ? {} : { ssh: upstream.ssh };
  if (upstream.kind !== 'stdio')
    return {
      label,
      reach: upstream.ssh === undefined ? 'url' : 'ssh-url',
      ...ssh,
      url: upstream.url,
      transport: upstream.kind,
      ...(upstream.headers ? { headers: upstream.headers } : {}),
      ...(upstream.tls ? { tls: upstream.tls } : {}),
    };
  return {
    label,
    reach: upstream.ssh === undefined ? 'command' : 'ssh-command',
    ...ssh,
    commandLine: formatCommandLine(upstream),
    ...(upstream.folder === undefined ? {} : { folder: upstream.folder }),
    ...(upstream.confirmed === undefined ? {} : { confirmed: upstream.confirmed }),
  };
}

/** Placement that a draft describes; `undefined` without a credential. */
export function placementOf(draft: Draft): Placement | undefined {
  const { detail = '' } = draft;
  switch (draft.authentication) {
    case 'bearer':
      return { kind: 'bearer' };
    case 'header': {
      const [, name = '', template] = /^([^:]*):\s*(.*)$/.exec(detail) ?? [undefined, detail];
      return { kind: 'header', name: name.trim(), ...(template === undefined ? {} : { template }) };
    }
    case 'basic':
      return { kind: 'basic', ...(draft.elsewhere === true && knowsUser(draft) ? {} : { username: detail }) };
    case 'cookie':
      return { kind: 'cookie', name: detail };
    case 'aws-sigv4': {
      const [service = '', region = '', accessKeyId] = detail.split(/\s+/);
      return { kind: 'aws-sigv4', service, region, ...(accessKeyId === undefined ? {} : { accessKeyId }) };
    }
    case 'argument': {
      const [placeholder = '', tool = '', argument = ''] = detail.split(/\s+/);
      return { kind: 'argument', placeholder, places: [{ tool, argument }] };
    }
    case 'query':
      return { kind: 'query', name: detail };
    case 'environment':
      return { kind: 'environment', name: detail };
    default:
      return undefined;
  }
}

/** Whether the source gives the user name too. */
export function knowsUser({ source }: Draft): boolean {
  const spec = source?.spec;
  return (spec?.kind === 'command' && spec.format === 'git') || (spec?.kind === 'hashicorp-vault' && spec.secret.engine === 'dynamic');
}

/** How the server that a draft describes authenticates, in words. */
export function describeAuthentication(draft: Draft): string {
  const placement = placementOf(draft);
  return placement ? describePlacement(placement) : draft.authentication === 'sign-in' ? 'sign-in' : 'none';
}
