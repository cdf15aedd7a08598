import { addressOf, errorTypeOf } from './attributes.ts';
import { fateOf, sentenceOf, type AuditEvent } from './event.ts';

/** Longest value of a field of its own, characters: arguments can be long, and receivers cut whole messages. */
const MAX_VALUE_CHARACTERS = 1_000;

/**
 * An event in ArcSight's Common Event Format, version 0 (CEF Implementation Standard, 26): one line, fields by its dictionary. `version` is
 * Culvert's. Severity: 1 all well, 4 failed, 6 denied, 7 stopped, 8 with findings.
 */
export function cefOf(event: AuditEvent, version: string): string {
  const fields: [string, string | number | undefined][] = [
    ['rt', event.at],
    ['externalId', event.id.slice(0, 40)],
    ['msg', sentenceOf(event)],
  ];
  if (event.kind === 'act') {
    const { act } = event;
    fields.push(
      ['cat', 'management'],
      ['act', act.act],
      ['deviceExternalId', act.window],
      ...labelled('cs', 1, 'subject', act.subject),
      ...labelled('cs', 2, 'detail', act.detail),
      ...labelled('cs', 3, 'server', act.server),
    );
    return line(version, act.act, act.act.replaceAll('-', ' '), act.act === 'tampering-found' ? 8 : 1, fields);
  }
  const { intent, outcome } = event;
  const fate = fateOf(event);
  const address = addressOf(intent.origin);
  fields.push(
    ['cat', 'call'],
    ['act', intent.effect],
    ['outcome', fate === 'ok' ? 'success' : fate === 'unknown' ? 'unknown' : 'failure'],
    ['reason', errorTypeOf(event) ?? intent.reason],
    ['app', 'MCP'],
    ['requestMethod', intent.method],
    ['requestClientApplication', intent.claims['clientName'] ?? intent.client],
    ['destinationServiceName', intent.serverLabel],
    ['dhost', address?.host],
    ['dpt', address?.port],
    ['deviceExternalId', intent.window],
    ['start', event.at],
    ['end', event.endedAt],
    ['out', intent.requestBytes],
    ['in', outcome?.responseBytes],
    ...labelled('cs', 1, 'tool', intent.tool),
    ...labelled('cs', 2, 'decidedBy', intent.decidedBy),
    ...labelled('cs', 3, 'server', intent.server),
    ...labelled('cs', 4, 'conversation', intent.claims['conversationId']),
    ...labelled('cs', 5, 'credentials', intent.credentials.length > 0 ? intent.credentials.join(', ') : undefined),
    ...labelled('cs', 6, 'arguments', intent.arguments),
    ...labelled('cn', 1, 'findings', outcome?.findings),
    ...labelled('cn', 2, 'durationMs', outcome && Math.round(outcome.totalMs)),
  );
  const severity = (outcome?.findings ?? 0) > 0 ? 8 : { ok: 1, failed: 4, unknown: 4, denied: 6, stopped: 7 }[fate];
  return line(version, `call.${fate}`, intent.tool === undefined ? intent.method : `${intent.method} ${intent.tool}`, severity, fields);
}

function labelled(
  kind: 'cs' | 'cn',
  number: number,
  label: string,
  value: string | number | undefined,
): [string, string | number | undefined][] {
  return value === undefined
    ? []
    : [
        [`${kind}${number}Label`, label],
        [`${kind}${number}`, value],
      ];
}

function line(
  version: string,
  id: string,
  name: string,
  severity: number,
  fields: readonly (readonly [string, string | number | undefined])[],
): string {
  const header = ['CEF:0', 'Culvert', 'Culvert', version, id, name, String(severity)].map((part, at) =>
    at === 0 ? part : headerText(part),
  );
  const extension = fields
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([key, value]) => `${key}=${valueText(String(value))}`);
  return `${header.join('|')}|${extension.join(' ')}`;
}

/** In the header `\` and `|` are escaped; it is one line. */
function headerText(text: string): string {
  return cut(text)
    .replace(/[\\|]/g, '\\$&')
    .replace(/[\r\n]+/g, ' ');
}

/** In a value `\` and `=` are escaped, and line ends are written `\n`. */
function valueText(text: string): string {
  return cut(text)
    .replace(/[\\=]/g, '\\$&')
    .replace(/\r\n|\r|\n/g, '\\n');
}

function cut(text: string): string {
  return text.length <= MAX_VALUE_CHARACTERS ? text : `${text.slice(0, MAX_VALUE_CHARACTERS - 1).toWellFormed()}…`;
}
