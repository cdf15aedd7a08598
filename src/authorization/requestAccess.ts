import * as z from 'zod';
import { visible } from '../common/text.ts';
import type { Decision } from '../mcp/decision.ts';
import { MAX_WHY_CHARACTERS, span } from './grant.ts';

/** Name of the tool with which agents ask for access. The tunnel offers and answers it; no server sees it. */
export const REQUEST_ACCESS = 'request_access';

/** How long access lasts if the agent does not say, minutes, and at most. */
export const DEFAULT_REQUEST_MINUTES = 15;
export const MAX_REQUEST_MINUTES = 8 * 60;
const MAX_REQUESTED_TOOLS = 50;

const Arguments = z.strictObject({
  tools: z.array(z.string().min(1).max(256)).min(1).max(MAX_REQUESTED_TOOLS),
  reason: z.string().trim().min(1).max(MAX_WHY_CHARACTERS),
  duration_minutes: z.number().int().min(1).max(MAX_REQUEST_MINUTES).default(DEFAULT_REQUEST_MINUTES),
});

/** What an agent asks for, of the server whose endpoint it called. */
export interface AccessWish {
  readonly tools: readonly string[];
  /** In the agent's words; shown as such. */
  readonly reason: string;
  readonly durationMs: number;
}

/** The tool as `tools/list` shows it (2025-11-25, server/tools). */
export const REQUEST_ACCESS_TOOL = {
  name: REQUEST_ACCESS,
  title: 'Request access',
  description:
    'Asks the user, through Culvert, to allow tools of this server that are denied. Call it when a tool call was denied and the task needs it. The user sees the tools, the reason and the duration and may allow less. Do not ask again for what was refused.',
  inputSchema: {
    type: 'object',
    additionalProperties: false,
    required: ['tools', 'reason'],
    properties: {
      tools: {
        type: 'array',
        minItems: 1,
        maxItems: MAX_REQUESTED_TOOLS,
        items: { type: 'string' },
        description: 'Exact names of the tools. Ask for as few as the task needs.',
      },
      reason: { type: 'string', maxLength: MAX_WHY_CHARACTERS, description: 'One sentence for the user: what for.' },
      duration_minutes: {
        type: 'integer',
        minimum: 1,
        maximum: MAX_REQUEST_MINUTES,
        default: DEFAULT_REQUEST_MINUTES,
        description: 'For how long.',
      },
    },
  },
  annotations: { readOnlyHint: true, openWorldHint: false },
} as const;

/** Reads the arguments of the tool, as a JSON text. `error` tells the agent what to write instead. */
export function parseRequestAccess(
  text: string | undefined,
): { readonly ok: true; readonly wish: AccessWish } | { readonly ok: false; readonly error: string } {
  let value: unknown;
  try {
    value = JSON.parse(text ?? '{}');
  } catch {
    return { ok: false, error: 'The arguments are no JSON.' };
  }
  const read = Arguments.safeParse(value);
  if (!read.success) {
    const [issue] = read.error.issues;
    const where = issue && issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ` : '';
    return {
      ok: false,
      error: `${where}${issue?.message ?? 'not understood'}. Give “tools” (a list of exact names), “reason” (one sentence) and, if needed, “duration_minutes” (1 to ${MAX_REQUEST_MINUTES}).`,
    };
  }
  const { tools, reason, duration_minutes: minutes } = read.data;
  return { ok: true, wish: { tools: [...new Set(tools)], reason, durationMs: minutes * 60_000 } };
}

/** What became of a wish. */
export interface AccessOutcome {
  readonly decision: Decision;
  /** Tools that can be called now; calls to some may ask the user each time. */
  readonly allowed: readonly string[];
  /** Tools that were asked for and stay closed. */
  readonly refused: readonly string[];
}

/** The answer that the agent gets. */
export function describeOutcome(
  { decision, allowed, refused }: AccessOutcome,
  wish: AccessWish,
): { readonly text: string; readonly isError: boolean } {
  const names = (tools: readonly string[]) => tools.map((t) => `“${visible(t, 80)}”`).join(', ');
  if (allowed.length === 0)
    return {
      text: `Not allowed: ${names(wish.tools)}. ${decision.reason} Continue without, or tell the user what can’t be done.`,
      isError: true,
    };
  const rest = refused.length > 0 ? ` Not allowed: ${names(refused)}; do not ask for them again.` : '';
  return {
    text: `Allowed now: ${names(allowed)}. ${decision.reason}${rest} Each call is still checked; asked for was ${span(wish.durationMs)}.`,
    isError: false,
  };
}

/** What a denied call tells the agent in addition, where asking can help. */
export function requestHint(decision: Decision): string {
  return decision.effect === 'deny' && decision.by.kind === 'rule' && decision.by.rule === 'no-grant'
    ? ` If the task needs it, ask with the tool “${REQUEST_ACCESS}” and say why.`
    : '';
}
