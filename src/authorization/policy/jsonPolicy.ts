import { findNodeAtLocation, parseTree, getNodeValue, printParseErrorCode, type Node, type ParseError } from 'jsonc-parser';
import * as z from 'zod';
import { brokenLayer, positionAt, type PolicyLayer, type PolicyProblem } from './layer.ts';
import { MAX_RULES, Rule, rulesLayer } from './rules.ts';

/** Where a workspace keeps its policy, below its folder. */
export const WORKSPACE_POLICY_PATH = '.vscode/culvert.json';
/** Largest workspace policy, characters. */
export const MAX_WORKSPACE_POLICY = 256 * 1024;
/** Problems that are listed for one file. */
const MAX_PROBLEMS = 50;

/** `.vscode/culvert.json`: rules that a repository brings along. It can only take away (DESIGN.md 3.6). */
export const WorkspacePolicy = z
  .strictObject({
    $schema: z.string().optional().meta({ description: 'Address of this schema.' }),
    version: z.literal(1).meta({ description: 'Version of the format: 1.' }),
    rules: z
      .array(Rule)
      .max(MAX_RULES)
      .readonly()
      .optional()
      .meta({ description: 'What is denied or asked in this workspace, whatever the user granted.' }),
    // Read by src/configuration/workspaceFile.ts: servers are set up after a question, and are no policy.
    servers: z
      .record(z.string(), z.looseObject({ type: z.enum(['http', 'sse', 'stdio']) }))
      .optional()
      .meta({ description: 'MCP servers that work in this workspace: places, and credentials by name as ${culvert:name}; never a value.' }),
  })
  .meta({
    id: 'CulvertPolicy',
    title: 'Culvert policy',
    description: 'Narrows what agents may do in this workspace. It never allows anything.',
  });
export type WorkspacePolicy = z.infer<typeof WorkspacePolicy>;

/** The JSON schema of {@link WorkspacePolicy}, as it stands in `media/schemas/culvert.schema.json`. */
export function workspacePolicySchema(): Record<string, unknown> {
  return {
    ...z.toJSONSchema(WorkspacePolicy, {
      io: 'input',
      target: 'draft-7',
      // What is read-only in TypeScript is not for whoever writes the file.
      override: ({ jsonSchema }) => {
        delete jsonSchema.readOnly;
      },
    }),
  };
}

/**
 * The layer of a workspace's policy file. `text` is `undefined` if there is none: then there is no layer. A file that can't be understood
 * denies everything in that workspace and says why, with line and column.
 */
export function workspaceLayer(source: string, text: string | undefined, shadow = false): PolicyLayer | undefined {
  if (text === undefined) return undefined;
  const name = 'The workspace’s policy';
  const read = readJson(source, text, MAX_WORKSPACE_POLICY, WorkspacePolicy);
  return read.ok ? rulesLayer(name, read.value.rules ?? [], shadow) : brokenLayer(name, read.problems, shadow);
}

/** The layer of the user's own rules, the value of a setting. `undefined` and `null` mean none. What can't be understood denies. */
export function userLayer(setting: string, value: unknown, shadow = false): PolicyLayer | undefined {
  if (value === undefined || value === null) return undefined;
  const name = 'The user’s policy in settings';
  const rules = z.array(Rule).max(MAX_RULES).safeParse(value);
  if (rules.success) return rules.data.length === 0 ? undefined : rulesLayer(name, rules.data, shadow);
  return brokenLayer(
    name,
    rules.error.issues.slice(0, MAX_PROBLEMS).map((issue) => ({
      source: setting,
      line: 0,
      column: 0,
      endLine: 0,
      endColumn: 0,
      message: `${describeIssuePath(issue.path)}${issue.message}`,
    })),
    shadow,
  );
}

/** A policy in JSON with comments, checked; or what is wrong with it, each with its place. */
export function readJson<T>(
  source: string,
  text: string,
  maxCharacters: number,
  schema: z.ZodType<T>,
): { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problems: readonly PolicyProblem[] } {
  const at = (offset: number, length: number, message: string): PolicyProblem => {
    const [from, to] = [positionAt(text, offset), positionAt(text, offset + length)];
    return { source, line: from.line, column: from.column, endLine: to.line, endColumn: to.column, message };
  };
  if (text.length > maxCharacters) return { ok: false, problems: [at(0, 0, `The file has more than ${maxCharacters} characters.`)] };
  const errors: ParseError[] = [];
  const tree = parseTree(text.replace(/^\ufeff/, ' '), errors, { allowTrailingComma: true });
  if (errors.length > 0 || !tree)
    return {
      ok: false,
      problems: errors
        .slice(0, MAX_PROBLEMS)
        .map((e) => at(e.offset, e.length, `No valid JSON: ${words(printParseErrorCode(e.error))}.`))
        .concat(tree ? [] : errors.length > 0 ? [] : [at(0, 0, 'The file is empty.')]),
    };
  const twice = duplicates(tree);
  if (twice.length > 0)
    return {
      ok: false,
      problems: twice.map((node) =>
        at(node.offset, node.length, `The key ${text.slice(node.offset, node.offset + node.length)} stands twice.`),
      ),
    };
  const parsed = schema.safeParse(getNodeValue(tree));
  if (parsed.success) return { ok: true, value: parsed.data };
  return {
    ok: false,
    problems: parsed.error.issues.slice(0, MAX_PROBLEMS).map((issue) => {
      const node = nodeAt(tree, issue.path, issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined);
      return at(node.offset, node.length, `${describeIssuePath(issue.path)}${issue.message}`);
    }),
  };
}

/** The node of a path, or the nearest above it that is there. */
function nodeAt(tree: Node, path: readonly PropertyKey[], key: string | undefined): Node {
  const segments = path.map((p) => (typeof p === 'symbol' ? '' : p));
  const whole = key === undefined ? segments : [...segments, key];
  for (let length = whole.length; length >= 0; length--) {
    const node = findNodeAtLocation(tree, whole.slice(0, length));
    if (!node) continue;
    return key !== undefined && length === whole.length ? (node.parent?.children?.[0] ?? node) : node;
  }
  return tree;
}

/** Keys that stand twice in one object: parsers differ in which counts. */
function duplicates(node: Node): Node[] {
  const out: Node[] = [];
  const seen = new Set<string>();
  for (const child of node.children ?? []) {
    if (node.type === 'object') {
      const [key] = child.children ?? [];
      if (key && seen.has(String(key.value))) out.push(key);
      if (key) seen.add(String(key.value));
    }
    out.push(...duplicates(child));
  }
  return out;
}

function describeIssuePath(path: readonly PropertyKey[]): string {
  return path.length === 0 ? '' : `${path.map(String).join('.')}: `;
}

function words(code: string): string {
  return code.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
}
