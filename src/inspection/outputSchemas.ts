import type { StringLimit } from './marks.ts';

/** Schemas that are remembered, and the longest, characters of JSON. A tool without one gets marks as they are. */
const MAX_SCHEMAS = 2_000;
const MAX_SCHEMA_CHARACTERS = 64 * 1024;
/** Steps that are followed for one value: references may go in circles. */
const MAX_STEPS = 200;

/** What structured results of a tool may hold, so that a mark does not make them invalid. */
export interface OutputSchema {
  /** What it says about the value at a path below `structuredContent`; `undefined`: nothing that a mark could break. */
  limitAt(path: readonly (string | number)[]): StringLimit | undefined;
}

/** The output schemas (2025-11-25, server/tools) of the tools that were listed through this window. */
export class OutputSchemas {
  readonly #byTool = new Map<string, OutputSchema | undefined>();

  /** Takes in the definition of a tool, JSON as the server sent it. */
  note(server: string, tool: string, definition: string): void {
    const key = keyOf(server, tool);
    this.#byTool.delete(key);
    // Most tools have none, and reading JSON costs more than looking for the word.
    if (!definition.includes('"outputSchema"') || definition.length > MAX_SCHEMA_CHARACTERS) return;
    let parsed: unknown;
    try {
      parsed = JSON.parse(definition);
    } catch {
      return;
    }
    const schema = isRecord(parsed) ? parsed['outputSchema'] : undefined;
    if (!isRecord(schema)) return;
    this.#byTool.set(key, { limitAt: (path) => limitAt(schema, path) });
    if (this.#byTool.size <= MAX_SCHEMAS) return;
    const oldest = this.#byTool.keys().next().value;
    if (oldest !== undefined) this.#byTool.delete(oldest);
  }

  of(server: string, tool: string): OutputSchema | undefined {
    return this.#byTool.get(keyOf(server, tool));
  }
}

function limitAt(root: Record<string, unknown>, path: readonly (string | number)[]): StringLimit | undefined {
  let steps = 0;
  const limit: { maxCharacters: number | undefined; shape: boolean; number: boolean; text: boolean } = {
    maxCharacters: undefined,
    shape: false,
    number: false,
    text: false,
  };
  const visit = (node: unknown, at: number): void => {
    if (!isRecord(node) || ++steps > MAX_STEPS) return;
    const reference = node['$ref'];
    if (typeof reference === 'string') visit(resolve(root, reference), at);
    for (const word of ['allOf', 'anyOf', 'oneOf'])
      if (Array.isArray(node[word])) for (const branch of node[word] as unknown[]) visit(branch, at);
    for (const word of ['if', 'then', 'else']) visit(node[word], at);
    if (at === path.length) {
      const max = node['maxLength'];
      if (typeof max === 'number') limit.maxCharacters = Math.min(max, limit.maxCharacters ?? max);
      limit.shape ||= ['pattern', 'format', 'enum', 'const', 'contentEncoding'].some((word) => node[word] !== undefined);
      const types = [node['type']].flat();
      limit.number ||= types.includes('number') || types.includes('integer');
      limit.text ||= types.includes('string');
      return;
    }
    const step = path[at] as string | number;
    const properties = isRecord(node['properties']) ? node['properties'] : {};
    if (typeof step === 'number') {
      const items = Array.isArray(node['prefixItems']) ? (node['prefixItems'] as unknown[])[step] : undefined;
      visit(items ?? node['items'], at + 1);
    } else if (Object.hasOwn(properties, step)) visit(properties[step], at + 1);
    else {
      if (isRecord(node['patternProperties'])) for (const inner of Object.values(node['patternProperties'])) visit(inner, at + 1);
      visit(node['additionalProperties'], at + 1);
    }
  };
  visit(root, 0);
  const number = limit.number && !limit.text;
  return limit.maxCharacters === undefined && !limit.shape && !number
    ? undefined
    : { maxCharacters: limit.maxCharacters, shape: limit.shape, number };
}

/** What a reference within the same schema names: `#/$defs/name`. */
function resolve(root: Record<string, unknown>, reference: string): unknown {
  if (!reference.startsWith('#/')) return reference === '#' ? root : undefined;
  let here: unknown = root;
  for (const part of reference.slice(2).split('/')) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    here = isRecord(here) && Object.hasOwn(here, key) ? here[key] : undefined;
  }
  return here;
}

function keyOf(server: string, tool: string): string {
  return `${server}\u0000${tool}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
