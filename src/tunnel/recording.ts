import { hash } from 'node:crypto';
import type { Intent } from '../audit/record.ts';
import { messageOf } from '../common/errors.ts';
import { methodOf, type Exchange } from '../mcp/exchange.ts';
import { bindingOf } from '../mcp/server.ts';
import type { Answer } from './answers.ts';
import { textOfArguments } from './callArguments.ts';
import type { Core } from './core.ts';
import type { Passage } from './passage.ts';
import { resultOf } from './relay.ts';
import type { StagesOptions } from './stages.ts';

/** Longest arguments that are kept in the record, characters; the digest covers all of them. */
export const MAX_RECORDED_ARGUMENTS = 8_192;

/** What is written about a call before anything leaves the machine. Holds no secret. */
export function intentOf(
  x: Passage,
  { core, recordArguments }: Pick<StagesOptions, 'core' | 'recordArguments'>,
  effect: Intent['effect'],
): Intent {
  const { principal, server, message, decision, claims } = x;
  const span = message?.arguments;
  const clean = isClean(x, core);
  const text = recordArguments() ? argumentsText(x, core) : undefined;
  const tool = message?.name ?? x.tasks[0]?.tool;
  const intent: Intent = {
    client: principal.client,
    window: principal.window,
    ...(principal.workspaceName === undefined ? {} : { workspace: principal.workspaceName }),
    claims: { ...claims },
    server: server.id,
    serverLabel: server.label,
    origin: bindingOf(server.upstream),
    era: x.era,
    method: methodOf(x),
    ...(tool === undefined ? {} : { tool }),
    ...(x.continues === undefined ? {} : { continues: x.continues }),
    ...(span ? { argumentsDigest: hash('sha256', x.body.subarray(span.start, span.end)) } : {}),
    ...(text === undefined ? {} : { arguments: text.slice(0, MAX_RECORDED_ARGUMENTS) }),
    effect,
    decidedBy: decision?.by.kind === 'grant' ? decision.by.grant : (decision?.by.rule ?? 'fault'),
    reason: decision?.reason ?? '',
    credentials: server.credentials.flatMap((id) => {
      const credential = core.credentials.recent(id);
      return credential ? [`${credential.name} (revision ${credential.revision})`] : [];
    }),
    requestBytes: x.body.length,
  };
  return clean ? intent : core.inspector.redactPlain(intent);
}

/** Writes how an exchange ended; also its intent, if it ended before it had one. */
export async function recordOutcome(x: Passage, options: StagesOptions, answer: Answer): Promise<void> {
  const { core, clock, logger } = options;
  try {
    if (!x.recorded)
      await core.audit.open(x.id, core.inspector.redactPlain({ ...intentOf(x, options, 'deny'), reason: answer.error ?? 'refused' }));
    core.audit.close(x.id, {
      // Looked up now that the answer is on its way.
      result: answer.result === 'ok' && !answer.sent ? resultOf(answer.body) : answer.result,
      status: answer.status,
      responseBytes: x.responseBytes,
      findings: x.findings.length,
      totalMs: round(clock.monotonic() - x.startedAt),
      decisionMs: round(x.decidedAt - x.startedAt),
      ...(x.upstreamMs === undefined ? {} : { upstreamMs: round(x.upstreamMs) }),
      ...(answer.error === undefined ? {} : { error: core.inspector.redactForDisplay(answer.error) }),
    });
    const tool = x.message?.method === 'tools/call' ? (x.message.name ?? '') : x.tasks[0]?.tool;
    core.findings.add(x.findings, {
      server: x.server.id,
      tool: tool === undefined ? undefined : core.inspector.redactForDisplay(tool),
      exchange: x.id,
    });
  } catch (error) {
    // The intent is on record; an intent without outcome tells that the end could not be written.
    logger.error(`The outcome of a call could not be recorded: ${messageOf(error)}`);
  }
}

/** Whether the request holds no known secret at all, in body or headers: looked at once, so that nothing made of it need be looked at again. */
export function isClean(x: Passage, core: Core): boolean {
  x.clean ??= core.inspector.isClean(x.body, besideOf(x));
  return x.clean;
}

/** The arguments for reading, known secrets taken out; `undefined` if the message has none. */
export function argumentsText(x: Passage, core: Core): string | undefined {
  const text = x.message && textOfArguments(x.message);
  return text === undefined || isClean(x, core) ? text : core.inspector.redactForDisplay(text);
}

/** What of a request is not its body and could carry a secret all the same: header values, but for the capability. */
export function besideOf({ headers }: Exchange): string {
  let text = '';
  for (const name in headers) if (name !== 'authorization') text += `${String(headers[name])}\n`;
  return text;
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
