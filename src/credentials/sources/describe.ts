import { describeCommand } from '../../mcp/server.ts';
import type { Credential } from '../credential.ts';
import { shownHost } from '../oauth/failure.ts';
import type { SourceSpec } from '../sourceSpec.ts';

/** Where a value comes from, in a few words for lists. */
export function describeSource(source: SourceSpec | undefined): string {
  switch (source?.kind) {
    case undefined:
      return 'system’s keyring';
    case 'environment':
      return `variable ${source.variable}`;
    case 'file':
      return `file ${source.path}`;
    case 'command':
      return `command ${describeCommand(source)}`;
    case 'keyring':
      return `secret-tool ${Object.entries(source.attributes)
        .map(([name, value]) => `${name}=${value}`)
        .join(' ')}`;
    case 'session':
      return `${source.provider} session${source.accountLabel === undefined ? '' : ` of ${source.accountLabel}`}`;
    case 'hashicorp-vault':
      return `Vault at ${new URL(source.address).host}, ${source.secret.engine === 'kv2' ? `${source.secret.mount}/${source.secret.path}` : source.secret.path}`;
    case 'oauth':
      if (source.grant !== 'code') return `${GRANTS[source.grant]}${source.issuer === undefined ? '' : ` at ${shownHost(source.issuer)}`}`;
      return `sign-in${source.issuer === undefined ? '' : ` at ${shownHost(source.issuer)}`}${source.account ? ` as ${source.account.label}` : ''}`;
  }
}

/** How tokens are had where no user signs in. */
const GRANTS = {
  'client-credentials': 'client credentials',
  enterprise: 'company’s identity provider',
  workload: 'workload’s identity',
} as const;

/** Scopes that a credential asks its source for, for showing. */
export function scopesOf({ source }: Pick<Credential, 'source'>): readonly string[] {
  return source?.kind === 'session' ? source.scopes : source?.kind === 'oauth' ? (source.scopes ?? []) : [];
}
