import { JsonReader, MAX_RESULT_DEPTH, applyEdits, valueKind, type Edit, type Span } from '../mcp/json.ts';
import { findValue } from '../mcp/message.ts';

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
  /** True on the first page. */
  readonly changed: boolean;
}

/**
 * Takes the tools that `view` hides out of a `tools/list` result, and sets `readOnlyHint` where the view says so. Everything else
 * stays byte for byte. Returns `undefined` if the message is no such result.
 */
export function presentTools(message: Buffer, view: (name: string) => ToolView): ListedTools | undefined {
  const list = findValue(message, ['result', 'tools']);
  if (!list || valueKind(message, list.start) !== 'array') return undefined;
  const reader = new JsonReader(message, { duplicates: 'allow', maxDepth: MAX_RESULT_DEPTH });
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
  const bytes = privately(
    Buffer.concat([
      message.subarray(0, list.start),
      Buffer.from('['),
      ...kept.flatMap((k, i) => (i === 0 ? [k] : [Buffer.from(','), k])),
      Buffer.from(']'),
      message.subarray(list.end),
    ]),
  );
  return { bytes, tools, changed };
}

/** What one principal may see is no list for everybody: `cacheScope` (2026-07-28, caching) becomes private. */
function privately(message: Buffer): Buffer {
  const scope = findValue(message, ['result', 'cacheScope']);
  return scope ? applyEdits(message, [{ span: scope, replacement: '"private"' }]) : message;
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
  const reader = new JsonReader(definition, { duplicates: 'allow', maxDepth: MAX_RESULT_DEPTH });
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
  const reader = new JsonReader(bytes, { duplicates: 'allow', maxDepth: MAX_RESULT_DEPTH });
  const present = lastMember(reader, span, key);
  if (present) return { span: present, replacement: value };
  const inside = reader.skipSpace(span.start + 1);
  const member = `${JSON.stringify(key)}:${value}`;
  return { span: { start: span.start + 1, end: span.start + 1 }, replacement: bytes[inside] === 0x7d ? member : `${member},` };
}

function lastMember(reader: JsonReader, object: Span, wanted: string): Span | undefined {
  let found: Span | undefined;
  reader.members(object.start, 3, (key, value) => {
    if (key === wanted) found = value;
  });
  return found;
}
