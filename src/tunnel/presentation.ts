import { JsonReader, MAX_RESULT_DEPTH, applyEdits, valueKind, type Edit, type Span } from '../mcp/json.ts';
import { findValue } from '../mcp/message.ts';
import type { Streams } from './streams.ts';

/** How what the server says about itself is shown to agents. */
export interface Presentation {
  /** The server's name becomes the user's label: agents name tools after it. */
  readonly nameAfterLabel: boolean;
  /** VS Code need not confirm calls that Culvert decides: one question, not two. */
  readonly culvertConfirms: boolean;
  /** Answer a GET that the server does not offer with a stream of our own, on which changes of tools are told. */
  readonly ownStream: boolean;
  /** Offer agents a tool with which they ask the user for access. */
  readonly requestAccess: boolean;
  readonly streams: Streams;
}

/** How a tool is presented to the agent. */
export interface ToolView {
  readonly listed: boolean;
  /** `true`: the editor need not ask as well, Culvert does. `undefined`: the server's own annotation stays. */
  readonly readOnlyHint: boolean | undefined;
}

/** A `tools/list` result as one client may see it, and the tools as the server sent them. */
export interface ListedTools {
  readonly bytes: Buffer;
  readonly tools: readonly { readonly name: string; readonly definition: string }[];
  /** Whether anything was hidden or set. */
  readonly changed: boolean;
}

/**
 * Takes the tools that `view` hides out of a `tools/list` result, and sets `readOnlyHint` where the view says so. Everything else
 * stays byte for byte. Returns `undefined` if the message is no such result.
 */
export function presentTools(message: Buffer, view: (name: string) => ToolView): ListedTools | undefined {
  const list = findValue(message, ['result', 'tools']);
  if (!list || valueKind(message, list.start) !== 'array') return undefined;
  const reader = lenientReader(message);
  const tools: { name: string; definition: string }[] = [];
  const kept: Buffer[] = [];
  let changed = false;
  const spans: Span[] = [];
  reader.elements(list.start, 2, (span) => void spans.push(span));
  for (const span of spans) {
    const definition = message.subarray(span.start, span.end);
    const nameSpan = valueKind(message, span.start) === 'object' ? lastMember(reader, span, 'name') : undefined;
    if (!nameSpan || valueKind(message, nameSpan.start) !== 'string') {
      // A tool without a name can't be called and can't be decided on.
      changed = true;
      continue;
    }
    const name = reader.text(nameSpan);
    tools.push({ name, definition: definition.toString('utf8') });
    const { listed, readOnlyHint } = view(name);
    if (!listed) {
      changed = true;
      continue;
    }
    const shown = readOnlyHint === undefined ? definition : withReadOnlyHint(definition, readOnlyHint);
    changed ||= shown !== definition;
    kept.push(shown);
  }
  if (!changed) return { bytes: message, tools, changed };
  return { bytes: withElements(message, list, kept), tools, changed };
}

/** A `tools/list` result with one more tool at its end, given as JSON text; any other message comes back as it is. */
export function appendTool(message: Buffer, definition: string): Buffer {
  const list = findValue(message, ['result', 'tools']);
  if (!list || valueKind(message, list.start) !== 'array') return message;
  const inside = lenientReader(message).skipSpace(list.start + 1);
  const replacement = message[inside] === 0x5d ? definition : `,${definition}`;
  return applyEdits(message, [{ span: { start: list.end - 1, end: list.end - 1 }, replacement }]);
}

/** Takes the tasks that `isShown` hides out of a `tasks/list` result (2025-11-25); any other message comes back as it is. */
export function presentTasks(message: Buffer, isShown: (id: string) => boolean): Buffer {
  const list = findValue(message, ['result', 'tasks']);
  if (!list || valueKind(message, list.start) !== 'array') return message;
  const reader = lenientReader(message);
  const kept: Buffer[] = [];
  let count = 0;
  reader.elements(list.start, 2, (span) => {
    count++;
    const id = valueKind(message, span.start) === 'object' ? lastMember(reader, span, 'taskId') : undefined;
    if (id && valueKind(message, id.start) === 'string' && isShown(reader.text(id))) kept.push(message.subarray(span.start, span.end));
  });
  return kept.length === count ? message : withElements(message, list, kept);
}

/** The message with other elements in the array at `list`. */
function withElements(message: Buffer, list: Span, elements: readonly Buffer[]): Buffer {
  return Buffer.concat([
    message.subarray(0, list.start),
    Buffer.from('['),
    ...elements.flatMap((k, i) => (i === 0 ? [k] : [Buffer.from(','), k])),
    Buffer.from(']'),
    message.subarray(list.end),
  ]);
}

/**
 * A result that is not for everybody and not for longer than `maxTtlMs` (2026-07-28, caching): `cacheScope` becomes private, and `ttlMs`
 * at most that. Hints that the server did not give stay away: without them clients keep nothing.
 */
export function limitCaching(message: Buffer, maxTtlMs: number | undefined): Buffer {
  const edits: Edit[] = [];
  const scope = findValue(message, ['result', 'cacheScope']);
  if (scope && message.toString('utf8', scope.start, scope.end) !== '"private"') edits.push({ span: scope, replacement: '"private"' });
  const ttl = maxTtlMs === undefined ? undefined : findValue(message, ['result', 'ttlMs']);
  if (ttl && !(Number(message.toString('utf8', ttl.start, ttl.end)) <= Number(maxTtlMs)))
    edits.push({ span: ttl, replacement: String(maxTtlMs) });
  return applyEdits(message, edits);
}

/** The answer to `initialize` or `server/discover` with the user's label as the server's name, and with the promise to tell when tools change. */
export function presentServer(message: Buffer, label: string): Buffer {
  const edits: Edit[] = [];
  const info = findValue(message, ['result', 'serverInfo']);
  if (info && valueKind(message, info.start) === 'object') {
    const name = findValue(message, ['result', 'serverInfo', 'name']);
    if (name) edits.push({ span: name, replacement: JSON.stringify(label) });
    const title = findValue(message, ['result', 'serverInfo', 'title']);
    if (title) edits.push({ span: title, replacement: JSON.stringify(label) });
  }
  const tools = findValue(message, ['result', 'capabilities', 'tools']);
  if (tools && valueKind(message, tools.start) === 'object') edits.push(setMember(message, tools, 'listChanged', 'true'));
  return applyEdits(message, edits);
}

function withReadOnlyHint(definition: Buffer, value: boolean): Buffer {
  const whole: Span = { start: 0, end: definition.length };
  const reader = lenientReader(definition);
  const annotations = lastMember(reader, whole, 'annotations');
  if (annotations && valueKind(definition, annotations.start) === 'object') {
    const present = lastMember(reader, annotations, 'readOnlyHint');
    if (present && definition.toString('utf8', present.start, present.end) === String(value)) return definition;
    return applyEdits(definition, [setMember(definition, annotations, 'readOnlyHint', String(value))]);
  }
  return applyEdits(definition, [setMember(definition, whole, 'annotations', `{"readOnlyHint":${String(value)}}`)]);
}

/** The edit that gives the member `key` of the object at `span` the JSON text `value`. */
function setMember(bytes: Buffer, span: Span, key: string, value: string): Edit {
  const reader = lenientReader(bytes);
  const present = lastMember(reader, span, key);
  if (present) return { span: present, replacement: value };
  const inside = reader.skipSpace(span.start + 1);
  const member = `${JSON.stringify(key)}:${value}`;
  return { span: { start: span.start + 1, end: span.start + 1 }, replacement: bytes[inside] === 0x7d ? member : `${member},` };
}

function lenientReader(message: Buffer): JsonReader {
  return new JsonReader(message, { duplicates: 'allow', maxDepth: MAX_RESULT_DEPTH });
}

function lastMember(reader: JsonReader, object: Span, wanted: string): Span | undefined {
  let found: Span | undefined;
  reader.members(object.start, 3, (key, value) => {
    if (key === wanted) found = value;
  });
  return found;
}
