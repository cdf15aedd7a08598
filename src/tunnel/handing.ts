import type { Passing } from '../inspection/inspector.ts';
import type { Edit } from '../mcp/json.ts';
import { principalKey } from '../mcp/principal.ts';
import { bindingOf } from '../mcp/server.ts';
import type { Core } from './core.ts';
import { credentialOf } from './knownValues.ts';
import type { Passage } from './passage.ts';

/** What stands for secrets in the results of a tool, where the user lets them be handed to another. */
export function standInOf(x: Passage, core: Core, tool: string | undefined): Passing['standIn'] {
  const { server, principal } = x;
  if (tool === undefined || !core.handovers.concerns(server.id, tool)) return undefined;
  return (value, id) => {
    const credential = id === undefined ? undefined : credentialOf(id);
    return core.handovers.give({
      value,
      server: server.id,
      tool,
      owner: principalKey(principal),
      // What was found in a result before is known by now, but is no credential of the vault.
      credential: credential !== undefined && core.credentials.get(credential) ? credential : undefined,
      task: core.access.tasks.for(server.id)?.id,
    });
  };
}

const NOTHING: readonly Edit[] = [];

/** Puts back what was handed on, into the arguments of a call. A text says why the call must not go out. */
export function handOver({ message, server, principal }: Passage, core: Core): readonly Edit[] | string {
  if (message?.arguments === undefined || message.method !== 'tools/call' || !core.handovers.mayHold(message.bytes)) return NOTHING;
  return core.handovers.putBack(message.bytes, message.arguments, {
    server: server.id,
    tool: message.name ?? '',
    owner: principalKey(principal),
    binding: bindingOf(server.upstream),
  });
}
