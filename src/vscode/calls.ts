import type { Call } from '../authorization/decide.ts';
import type { Target } from '../authorization/grant.ts';
import type { Server } from '../mcp/server.ts';

/** Where names of credentials are looked up. */
export interface CredentialNames {
  get(id: string): { readonly name: string } | undefined;
}

/** A call of a tool as a view asks about it: its arguments are not known. */
export function toolCall(server: Server, credentials: CredentialNames, tool: string, reads: boolean): Call {
  return { ...placed(server, credentials), method: 'tools/call', tool, reads };
}

/** A call that a target stands for, as a view asks about it. */
export function callOf(server: Server, credentials: CredentialNames, target: Target): Call {
  const method = target.kind === 'resources' ? 'resources/read' : target.kind === 'prompts' ? 'prompts/get' : 'tools/call';
  return { ...placed(server, credentials), method };
}

function placed(server: Server, credentials: CredentialNames): Omit<Call, 'method'> {
  return {
    server: server.id,
    serverLabel: server.label,
    place: server.upstream,
    credentials: server.credentials.flatMap((id) => credentials.get(id)?.name ?? []),
  };
}
