import { hash } from 'node:crypto';
import { JsonFault, JsonReader, MAX_RESULT_DEPTH, valueKind, type Span } from '../mcp/json.ts';
import type { Inspected, Inspector, Passing } from './inspector.ts';

/** Lists below this are looked at each time, bytes: it costs no more than remembering. */
const MIN_BYTES = 2_048;
/** Lists that are remembered, and bytes of what was changed in them. */
const MAX_LISTS = 300;
const MAX_CHANGED_BYTES = 4 * 1_048_576;

/** What servers say about themselves and their tools: it comes again at every start and changes seldom. */
const METHODS = new Set(['initialize', 'server/discover', 'tools/list', 'prompts/list', 'resources/list', 'resources/templates/list']);

interface Remembered {
  readonly version: number;
  /** What it became; `undefined`: itself. */
  readonly changed: Buffer | undefined;
}

/** Looks at lists of tools, prompts and resources, and at what servers say of themselves, once per version: told apart by their digest. */
export class ListMemory {
  readonly #inspector: Inspector;
  readonly #version: () => number;
  readonly #known = new Map<string, Remembered>();
  #changedBytes = 0;

  /** `version` changes whenever something else is searched for. */
  constructor(inspector: Inspector, version: () => number) {
    this.#inspector = inspector;
    this.#version = version;
  }

  /** Whether the answer to a method is worth remembering. */
  static remembers(method: string | undefined): boolean {
    return method !== undefined && METHODS.has(method);
  }

  /** Like {@link Inspector.look}; what was found in the same list before is not told again. */
  async look(bytes: Buffer, where: Passing): Promise<Inspected> {
    const result = bytes.length < MIN_BYTES ? undefined : resultOf(bytes);
    if (!result) return this.#inspector.look(bytes, where);
    const inner = bytes.subarray(result.start, result.end);
    const key = `${where.server} ${hash('sha256', inner)}`;
    const version = this.#version();
    const known = this.#known.get(key);
    // What stands around the result is another each time.
    const rest = Buffer.concat([bytes.subarray(0, result.start), NULL, bytes.subarray(result.end)]);
    if (known?.version === version) {
      const around = await this.#inspector.look(rest, where);
      if (around.findings.length === 0 && around.blocked !== true)
        return {
          bytes: known.changed ? Buffer.concat([bytes.subarray(0, result.start), known.changed, bytes.subarray(result.end)]) : bytes,
          findings: [],
        };
    }
    const inspected = await this.#inspector.look(bytes, where);
    if (inspected.blocked !== true && this.#version() === version) this.#remember(key, version, bytes, inspected.bytes);
    return inspected;
  }

  clear(): void {
    this.#known.clear();
    this.#changedBytes = 0;
  }

  #remember(key: string, version: number, before: Buffer, after: Buffer): void {
    const result = after === before ? undefined : resultOf(after);
    if (after !== before && !result) return;
    const changed = result ? Buffer.from(after.subarray(result.start, result.end)) : undefined;
    this.#changedBytes += changed?.length ?? 0;
    if (this.#known.size >= MAX_LISTS || this.#changedBytes > MAX_CHANGED_BYTES) this.clear();
    this.#known.set(key, { version, changed });
  }
}

const NULL = Buffer.from('null');

/** The only `result` of a message; of several it is not known which one counts. */
function resultOf(bytes: Buffer): Span | undefined {
  const reader = new JsonReader(bytes, { duplicates: 'allow', maxDepth: MAX_RESULT_DEPTH });
  const found: Span[] = [];
  try {
    const start = reader.skipSpace(0);
    if (valueKind(bytes, start) !== 'object') return undefined;
    reader.members(start, 0, (key, value) => {
      if (key === 'result') found.push(value);
    });
  } catch (error) {
    if (error instanceof JsonFault) return undefined;
    throw error;
  }
  return found.length === 1 ? found[0] : undefined;
}
