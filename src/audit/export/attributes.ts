import type { AuditEvent, CallEvent } from './event.ts';
import { fateOf } from './event.ts';

/** Value of an attribute, as OpenTelemetry knows it. */
export type AttributeValue = string | number | boolean | string[];
export type Attributes = Record<string, AttributeValue>;

/**
 * An event under the names of the OpenTelemetry semantic conventions for MCP and GenAI
 * (https://opentelemetry.io/docs/specs/semconv/gen-ai/mcp, status Development, as of 1.40), what they have no name for below `culvert.`.
 */
export function attributesOf(event: AuditEvent): Attributes {
  const out: Attributes = { 'culvert.record.id': event.id, 'culvert.record.hash': event.hash };
  const set = (name: string, value: AttributeValue | undefined) => {
    if (value !== undefined) out[name] = value;
  };
  if (event.kind === 'act') {
    set('culvert.act', event.act.act);
    set('culvert.window', event.act.window);
    set('culvert.server.id', event.act.server);
    set('culvert.subject', event.act.subject);
    set('culvert.detail', event.act.detail);
    set('culvert.id', event.act.id);
    set('culvert.until', event.act.until === undefined ? undefined : new Date(event.act.until).toISOString());
    return out;
  }
  const { intent, outcome } = event;
  set('mcp.method.name', intent.method);
  set('mcp.session.id', intent.session);
  set('mcp.protocol.version', intent.protocol);
  set('jsonrpc.request.id', intent.rpcId?.replace(/^"(.*)"$/s, '$1'));
  if (intent.method === 'tools/call') {
    set('gen_ai.operation.name', 'execute_tool');
    set('gen_ai.tool.name', intent.tool);
    set('gen_ai.tool.call.arguments', intent.arguments);
    set('gen_ai.tool.call.result', outcome?.resultText);
  } else if (intent.method === 'prompts/get') set('gen_ai.prompt.name', intent.tool);
  else if (intent.method.startsWith('resources/')) set('mcp.resource.uri', intent.tool);
  set('gen_ai.conversation.id', intent.claims['conversationId']);
  set('gen_ai.agent.name', intent.claims['clientName']);
  set('gen_ai.agent.version', intent.claims['clientVersion']);
  const address = addressOf(intent.origin);
  set('server.address', address?.host);
  set('server.port', address?.port);
  set('network.transport', address ? 'tcp' : 'pipe');
  set('network.protocol.name', address ? 'http' : undefined);
  set('error.type', errorTypeOf(event));
  set('rpc.response.status_code', outcome?.rpcCode === undefined ? undefined : String(outcome.rpcCode));
  set('http.response.status_code', outcome?.status);
  set('culvert.exchange', event.exchange);
  set('culvert.window', intent.window);
  set('culvert.client', intent.client);
  set('culvert.workspace', intent.workspace);
  set('culvert.server.id', intent.server);
  set('culvert.server.label', intent.serverLabel);
  set('culvert.era', intent.era);
  set('culvert.fate', fateOf(event));
  set('culvert.decision', intent.effect);
  set('culvert.decided_by', intent.decidedBy);
  set('culvert.reason', intent.reason);
  set('culvert.grant', intent.grant);
  set('culvert.policy.digest', intent.policyDigest);
  set('culvert.approver', intent.approver);
  set('culvert.task', intent.task);
  set('culvert.continues', intent.continues);
  if (intent.credentials.length > 0) set('culvert.credentials', [...intent.credentials]);
  set('culvert.arguments.digest', intent.argumentsDigest);
  set('culvert.result', outcome?.result);
  set('culvert.result.digest', outcome?.resultDigest);
  set('culvert.findings', outcome?.findings);
  if (outcome?.found && outcome.found.length > 0)
    set(
      'culvert.findings.rules',
      outcome.found.map(({ rule, action }) => `${rule}: ${action}`),
    );
  set('culvert.request.bytes', intent.requestBytes);
  set('culvert.response.bytes', outcome?.responseBytes);
  set('culvert.duration_ms', outcome?.totalMs);
  for (const [stage, ms] of Object.entries(outcome?.stages ?? {})) set(`culvert.stage.${stage}_ms`, ms);
  set('culvert.error', outcome?.error);
  return out;
}

/** Class of the failure: the JSON-RPC code, `tool_error` (both by the convention), or Culvert's own word; `undefined` if all went well. */
export function errorTypeOf({ intent, outcome }: Pick<CallEvent, 'intent' | 'outcome'>): string | undefined {
  if (intent.effect === 'deny') return 'denied';
  if (!outcome) return 'unknown';
  if (outcome.result === 'ok') return undefined;
  if (outcome.rpcCode !== undefined) return String(outcome.rpcCode);
  return outcome.result === 'tool-error' ? 'tool_error' : outcome.result.replaceAll('-', '_');
}

/** Host and port of an origin; `undefined` for a command. */
export function addressOf(origin: string): { readonly host: string; readonly port: number } | undefined {
  if (!/^https?:\/\//.test(origin) || !URL.canParse(origin)) return undefined;
  const url = new URL(origin);
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(url.port || (url.protocol === 'https:' ? 443 : 80)) };
}

/** The trace that the client says a call belongs to (W3C Trace Context, `traceparent`); `undefined` without a good one. */
export function traceOf(
  traceparent: string | undefined,
): { readonly traceId: string; readonly spanId: string; readonly sampled: boolean } | undefined {
  const match = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/.exec(traceparent ?? '');
  const [, traceId = '', spanId = '', flags = ''] = match ?? [];
  if (!match || traceparent?.startsWith('ff') === true || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (parseInt(flags, 16) & 1) === 1 };
}
