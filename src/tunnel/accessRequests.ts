import { REQUEST_ACCESS, REQUEST_ACCESS_TOOL, describeOutcome, parseRequestAccess } from '../authorization/requestAccess.ts';
import { clientLabel } from '../mcp/principal.ts';
import { destinationOf } from '../mcp/server.ts';
import { answerTool, type Answer } from './answers.ts';
import { callerOf } from './authority.ts';
import type { Passage } from './passage.ts';
import { argumentsText } from './recording.ts';
import type { StagesOptions } from './stages.ts';

/** Names of hidden tools that the description of the tool lists, and the longest of them, characters. */
const MAX_NAMED_TOOLS = 50;
const PLAIN_NAME = /^[\w./:-]{1,64}$/;

/** Whether agents of this server are offered the tool with which they ask for access. A server's own tool of that name goes first. */
export function offersRequests(x: Passage, { core, presentation }: Pick<StagesOptions, 'core' | 'presentation'>): boolean {
  return presentation.requestAccess && !core.catalog.tools(x.server.id).some((tool) => tool.name === REQUEST_ACCESS);
}

/** Whether a message is a call of that tool. Culvert answers it; no server sees it. */
export function asksForAccess(x: Passage, options: Pick<StagesOptions, 'core' | 'presentation'>): boolean {
  const { message } = x;
  return message?.method === 'tools/call' && message.name === REQUEST_ACCESS && message.kind === 'request' && offersRequests(x, options);
}

/** The tool as it stands in `tools/list`, a JSON text. `hidden` are tools that nobody has decided about: an agent can only ask for what it knows. */
export function requestTool(hidden: readonly string[]): string {
  const named = hidden.filter((name) => PLAIN_NAME.test(name)).slice(0, MAX_NAMED_TOOLS);
  if (named.length === 0) return PLAIN_TOOL;
  const more = hidden.length > named.length ? ` and ${hidden.length - named.length} more` : '';
  return JSON.stringify({
    ...REQUEST_ACCESS_TOOL,
    description: `${REQUEST_ACCESS_TOOL.description} Tools that can be asked for: ${named.join(', ')}${more}.`,
  });
}

const PLAIN_TOOL = JSON.stringify(REQUEST_ACCESS_TOOL);

/** Asks the user for what the agent wants, and answers the call, which {@link asksForAccess}. */
export async function answerRequest(x: Passage, options: StagesOptions): Promise<Answer> {
  const { core } = options;
  // Without known secrets: it is shown, remembered and given back.
  const read = parseRequestAccess(argumentsText(x, core));
  if (!read.ok) return answerTool(x, read.error, true);
  const { wish } = read;
  const known = new Set(core.catalog.tools(x.server.id).map((tool) => tool.name));
  const unknown = known.size > 0 ? wish.tools.filter((tool) => !known.has(tool)) : [];
  if (unknown.length > 0)
    return answerTool(x, `${x.server.label} has no tool ${unknown.map((t) => JSON.stringify(t)).join(', ')}. Give exact names.`, true);
  const outcome = await core.approvals.requestAccess(
    {
      principal: { ...callerOf(x, options) },
      server: x.server.id,
      serverLabel: x.server.label,
      wish,
      place: x.server.upstream,
      reads: (tool) => core.catalog.reads(x.server.id, tool),
      destination: destinationOf(x.server),
      credentials: core.credentialNames(x.server),
      client: clientLabel(x.principal, x.claims.clientName),
    },
    options.approvalTimeoutMs(),
    x.gone,
  );
  const { text, isError } = describeOutcome(outcome, wish);
  return answerTool(x, text, isError);
}
