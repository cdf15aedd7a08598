import { hash } from 'node:crypto';
import { visible } from '../../common/text.ts';
import { messageOf } from '../../common/errors.ts';
import { classifyMethod } from '../../mcp/methods.ts';
import type { UpstreamPlace } from '../../mcp/server.ts';
import { childPath, type CallArguments, type Value } from '../arguments.ts';
import { subject, type Call } from '../decide.ts';
import { ACTION_GROUPS, schemaWith } from './cedarSchema.ts';
import { loadCedar, type Cedar } from './engine.ts';
import { brokenLayer, positionAt, type Narrowing, type PolicyLayer, type PolicyProblem, type PolicyQuestion } from './layer.ts';

type PolicyJson = Extract<ReturnType<Cedar['policyToJson']>, { type: 'success' }>['json'];

/** Largest policy file, bytes. */
export const MAX_POLICY_BYTES = 1024 * 1024;
/** Arguments that are given to a policy. A call with more is not readable to it. */
export const MAX_FACTS = 2_000;

/** Whether only an administrator can have written a file. */
export type Protection = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** A policy file as it was read. */
export interface PolicyText {
  /** Its path, for messages. */
  readonly source: string;
  readonly text: string;
  readonly protection: Protection;
}

const NAME = 'The organisation’s policy';

/**
 * Makes the layer of a policy in Cedar: what it does not permit, or forbids, is denied; a `forbid` with `@effect("ask")` asks instead, and
 * `@reason("…")` is told to the user and the agent. A policy that can't be read, does not fit the schema or is not protected denies
 * everything. Loads the engine (WebAssembly, 4 MB) now and not before. Never rejects.
 */
export async function loadCedarLayer(policy: PolicyText, shadow = false): Promise<PolicyLayer> {
  const broken = (problems: readonly PolicyProblem[]) => brokenLayer(NAME, problems, shadow);
  if (!policy.protection.ok) return broken([problemAt(policy, 0, 0, policy.protection.reason)]);
  if (Buffer.byteLength(policy.text) > MAX_POLICY_BYTES)
    return broken([problemAt(policy, 0, 0, `The file is larger than ${MAX_POLICY_BYTES / 1024} KB. Split off what is not needed.`)]);
  try {
    const cedar = await loadCedar();
    const read = readPolicies(cedar, policy);
    if ('problems' in read) return broken(read.problems);
    return layerOf(cedar, read, shadow);
  } catch (error) {
    return broken([problemAt(policy, 0, 0, `The engine for Cedar policies can’t be loaded: ${messageOf(error)}.`)]);
  }
}

interface ReadPolicies {
  readonly id: string;
  readonly policies: ReadonlyMap<string, PolicyJson>;
}

function readPolicies(cedar: Cedar, policy: PolicyText): ReadPolicies | { readonly problems: readonly PolicyProblem[] } {
  const { text } = policy;
  const checked = cedar.checkParsePolicySet({ staticPolicies: text });
  if (checked.type === 'failure') return { problems: checked.errors.map((e) => problemOf(policy, e)) };
  const parts = cedar.policySetTextToParts(text);
  if (parts.type === 'failure') return { problems: parts.errors.map((e) => problemOf(policy, e)) };
  if (parts.policy_templates.length > 0)
    return {
      problems: [problemAt(policy, 0, 0, 'The file holds a template (a policy with ?principal or ?resource), and nothing links it.')],
    };
  const policies = new Map<string, PolicyJson>();
  const actions = new Set<string>();
  // The engine numbers policies in the order of the text and gives them sorted by id: policy10 before policy2.
  const ids = parts.policies.map((_, i) => `policy${i}`).sort();
  for (const [i, part] of parts.policies.entries()) {
    const json = cedar.policyToJson(part);
    if (json.type === 'failure') return { problems: json.errors.map((e) => problemOf(policy, e)) };
    const effect = json.json.annotations?.['effect'];
    if (effect !== undefined && (effect !== 'ask' || json.json.effect !== 'forbid'))
      return { problems: [problemAt(policy, 0, 0, `@effect(${JSON.stringify(effect)}): only a forbid can have @effect("ask").`)] };
    policies.set(ids[i] ?? '', json.json);
    for (const name of actionsIn(json.json)) actions.add(name);
  }
  const validated = cedar.validate({ schema: schemaWith(actions), policies: { staticPolicies: text } });
  if (validated.type === 'failure') return { problems: validated.errors.map((e) => problemOf(policy, e)) };
  if (validated.validationErrors.length > 0) {
    const seen = new Map<string, PolicyProblem>();
    for (const { error } of validated.validationErrors) {
      const problem = problemOf(policy, error);
      // The same place is found wrong once for each action.
      seen.set(`${problem.line}:${problem.column}`, problem);
    }
    return { problems: [...seen.values()] };
  }
  const id = hash('sha256', text);
  const parsed = cedar.preparsePolicySet(id, { staticPolicies: text });
  if (parsed.type === 'failure') return { problems: parsed.errors.map((e) => problemOf(policy, e)) };
  return { id, policies };
}

function layerOf(cedar: Cedar, { id, policies }: ReadPolicies, shadow: boolean): PolicyLayer {
  const onArguments = new Set([...policies].filter(([, json]) => hangsOnArguments(json)).map(([policy]) => policy));
  const mayPermit = [...policies].some(([policy, json]) => json.effect === 'permit' && onArguments.has(policy));
  return {
    name: NAME,
    digest: id,
    problems: [],
    ...(shadow ? { shadow } : {}),
    narrow: (question) => {
      const action = actionOf(question.call);
      // What every connection needs is no action of anybody.
      if (action === undefined) return undefined;
      const answer = cedar.statefulIsAuthorized(requestOf(id, question, action));
      const what = subject(question.call);
      if (answer.type === 'failure')
        return {
          effect: 'deny',
          rule: 'fault',
          reason: `${what} could not be checked against the organisation’s policy, so it is not allowed.`,
        };
      const { decision, diagnostics } = answer.response;
      if (question.prospect === true && decision === 'deny') {
        const certain = diagnostics.reason.filter((policy) => !onArguments.has(policy));
        if (certain.length > 0) return narrowingOf(what, certain, policies);
        return diagnostics.reason.length > 0 || mayPermit ? undefined : narrowingOf(what, [], policies);
      }
      if (question.prospect === true) return undefined;
      // A rule that fails is skipped by Cedar. If it was a forbid, that would let the call through.
      if (diagnostics.errors.length > 0) {
        const rule = nameOf(policies, diagnostics.errors[0]?.policyId ?? '');
        return {
          effect: 'deny',
          rule,
          reason: `${what} is not allowed: the rule “${rule}” of the organisation’s policy could not be evaluated. It must ask hasTag before getTag, and has before an optional attribute.`,
        };
      }
      if (decision === 'allow') return undefined;
      return narrowingOf(what, diagnostics.reason, policies);
    },
  };
}

function narrowingOf(what: string, reasons: readonly string[], policies: ReadonlyMap<string, PolicyJson>): Narrowing {
  if (reasons.length === 0)
    return {
      effect: 'deny',
      rule: 'nothing permits it',
      reason: `${what} is not allowed: nothing in the organisation’s policy permits it. Only an administrator can change that.`,
    };
  const asks = (id: string) => policies.get(id)?.annotations?.['effect'] === 'ask';
  const effect = reasons.every(asks) ? 'ask' : 'deny';
  // Of several the one that denies; then the first in the file.
  const [deciding] = reasons.filter((id) => effect === 'ask' || !asks(id)).sort((a, b) => Number(a.slice(6)) - Number(b.slice(6)));
  const rule = nameOf(policies, deciding ?? '');
  const why = policies.get(deciding ?? '')?.annotations?.['reason'];
  const said = why === undefined ? '' : ` The reason given: “${visible(why, 300)}”.`;
  return effect === 'ask'
    ? { effect, rule, reason: `${what} asks the user each time: the rule “${rule}” of the organisation’s policy wants that.${said}` }
    : {
        effect,
        rule,
        reason: `${what} is denied by the rule “${rule}” of the organisation’s policy. Only an administrator can change that.${said}`,
      };
}

function nameOf(policies: ReadonlyMap<string, PolicyJson>, id: string): string {
  const name = policies.get(id)?.annotations?.['id'];
  return name === undefined || name === '' ? `rule ${Number(id.slice(6)) + 1}` : visible(name, 80);
}

/** What a call is called; `undefined` for what belongs to the connection. */
function actionOf({ method, tool }: Call): { readonly id: string; readonly group: string } | undefined {
  const kind = method === undefined ? 'session' : classifyMethod(method);
  switch (kind) {
    case 'session':
      return undefined;
    case 'tool':
      return { id: isReserved(tool ?? '') ? `tool ${tool ?? ''}` : (tool ?? ''), group: 'tools' };
    case 'resource':
      return { id: 'any of resources', group: 'resources' };
    case 'prompt':
      return { id: 'any of prompts', group: 'prompts' };
    case 'completion':
      return { id: 'any of completion', group: 'completion' };
    case 'unknown':
      return { id: 'any of methods', group: 'methods' };
  }
}

function requestOf(
  id: string,
  { principal, call, now, task }: PolicyQuestion,
  action: { readonly id: string; readonly group: string },
): Parameters<Cedar['statefulIsAuthorized']>[0] {
  const facts = factsOf(call.arguments);
  const server = serverOf(call);
  const client = { type: 'Client', id: principal.client };
  const reference = (type: string) => ({ __entity: { type, id: '' } });
  const local = new Date(now);
  const attributes = {
    window: principal.window,
    ...(principal.workspaceName === undefined ? {} : { workspace: principal.workspaceName }),
    ...(principal.branch === undefined ? {} : { branch: principal.branch }),
  };
  const tags = (type: string, of: ReadonlyMap<string, string | number | boolean | string[]>) => ({
    uid: { type, id: '' },
    attrs: {},
    parents: [],
    tags: Object.fromEntries(of),
  });
  const uid = { type: 'Action', id: action.id };
  return {
    principal: client,
    action: uid,
    resource: { type: 'Server', id: server.id },
    context: {
      texts: reference('Texts'),
      numbers: reference('Numbers'),
      flags: reference('Flags'),
      lists: reference('Lists'),
      paths: facts.paths,
      readable: facts.readable,
      reads: call.reads === true,
      credentials: [...(call.credentials ?? [])],
      ...(task === undefined ? {} : { task }),
      time: { __extn: { fn: 'datetime', arg: new Date(now).toISOString() } },
      hour: local.getHours(),
      weekday: ((local.getDay() + 6) % 7) + 1,
    },
    preparsedPolicySetId: id,
    entities: [
      { uid: client, attrs: attributes, parents: [] },
      { uid, attrs: {}, parents: action.id === action.group ? [] : [{ type: 'Action', id: action.group }] },
      { uid: { type: 'Server', id: server.id }, attrs: server.attributes, parents: [] },
      tags('Texts', facts.texts),
      tags('Numbers', facts.numbers),
      tags('Flags', facts.flags),
      tags('Lists', facts.lists),
    ],
  };
}

function serverOf({ place, serverLabel }: Call): { readonly id: string; readonly attributes: Record<string, string> } {
  const attributes = { label: serverLabel, transport: '', url: '', host: '', command: '', ssh: '', ...(place ? placeFacts(place) : {}) };
  const id = place === undefined ? '' : place.kind === 'stdio' ? `command:${attributes.command}` : new URL(place.url).origin;
  return { id: attributes.ssh === '' ? id : `ssh:${attributes.ssh} ${id}`, attributes };
}

function placeFacts(place: UpstreamPlace): Record<string, string> {
  const ssh = place.ssh ?? '';
  if (place.kind === 'stdio') return { transport: 'stdio', command: [place.command, ...place.args].join(' '), ssh };
  return { transport: place.kind, url: place.url, host: new URL(place.url).hostname, ssh };
}

interface ArgumentFacts {
  readonly readable: boolean;
  readonly paths: string[];
  readonly texts: Map<string, string>;
  readonly numbers: Map<string, number>;
  readonly flags: Map<string, boolean>;
  readonly lists: Map<string, string[]>;
}

/** The arguments flattened. Numbers that are not whole, or larger than a Long holds exactly, are texts. */
function factsOf(args: CallArguments | undefined): ArgumentFacts {
  const facts: ArgumentFacts = { readable: true, paths: [], texts: new Map(), numbers: new Map(), flags: new Map(), lists: new Map() };
  const root = args?.root();
  if (!root) return { ...facts, readable: false };
  const walk = (value: Value, path: string): boolean => {
    if (facts.paths.push(path) > MAX_FACTS) return false;
    switch (value.kind) {
      case 'string':
        facts.texts.set(path, value.text);
        return true;
      case 'number': {
        const number = Number(value.text);
        if (/^-?\d+$/.test(value.text) && Number.isSafeInteger(number)) facts.numbers.set(path, number === 0 ? 0 : number);
        else facts.texts.set(path, value.text);
        return true;
      }
      case 'boolean':
        facts.flags.set(path, value.value);
        return true;
      case 'null':
        return true;
      case 'object':
        for (const [key, member] of value.members) if (!walk(member, childPath(path, key))) return false;
        return true;
      case 'list':
        facts.lists.set(
          path,
          value.elements.map((e) => (e.kind === 'string' || e.kind === 'number' ? e.text : e.kind === 'boolean' ? String(e.value) : '')),
        );
        for (const [i, element] of value.elements.entries()) if (!walk(element, childPath(path, String(i)))) return false;
        return true;
    }
  };
  const whole = walk(root, '');
  return whole ? facts : { ...facts, readable: false };
}

/** Names of groups, and of what is no tool. A server that calls a tool so must not get what is permitted to those. */
function isReserved(name: string): boolean {
  return (ACTION_GROUPS as readonly string[]).includes(name) || name.startsWith('any of ');
}

/** Names of the actions that a policy speaks of, in its scope and its conditions. */
function actionsIn(json: unknown): string[] {
  const out: string[] = [];
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) for (const v of value) walk(v);
    else if (typeof value === 'object' && value !== null) {
      if ('type' in value && value.type === 'Action' && 'id' in value && typeof value.id === 'string') out.push(value.id);
      for (const v of Object.values(value)) walk(v);
    }
  };
  walk(json);
  return out.filter(
    (name) => !(ACTION_GROUPS as readonly string[]).includes(name) && !/^any of (tools|resources|prompts|completion|methods)$/.test(name),
  );
}

/** What a call is known by before its arguments are. */
const BEFORE_ARGUMENTS: ReadonlySet<unknown> = new Set(['reads', 'credentials', 'task', 'time', 'hour', 'weekday']);

/** Whether a rule looks at the arguments of a call, as far as it can be seen from outside: in doubt it does. */
function hangsOnArguments(json: unknown): boolean {
  if (Array.isArray(json)) return json.some(hangsOnArguments);
  if (typeof json !== 'object' || json === null) return false;
  if ('Var' in json && json.Var === 'context') return true;
  if ('left' in json && 'attr' in json && BEFORE_ARGUMENTS.has(json.attr) && isContext(json.left)) return false;
  return Object.values(json).some(hangsOnArguments);
}

function isContext(json: unknown): boolean {
  return typeof json === 'object' && json !== null && 'Var' in json && json.Var === 'context';
}

interface CedarError {
  readonly message: string;
  readonly help: string | null;
  readonly sourceLocations?: readonly { readonly start: number; readonly end: number }[];
}

function problemOf(policy: PolicyText, { message, help, sourceLocations }: CedarError): PolicyProblem {
  const [place] = sourceLocations ?? [];
  const said = message.replace(/^failed to parse polic(y|ies) from string: /, '').replace(/^for policy `policy\d+`, /, '');
  const text = `${said.charAt(0).toUpperCase()}${said.slice(1)}.${help ? ` ${help.charAt(0).toUpperCase()}${help.slice(1)}.` : ''}`;
  // Cedar counts bytes of UTF-8.
  const bytes = Buffer.from(policy.text, 'utf8');
  const offset = (at: number) => bytes.subarray(0, at).toString('utf8').length;
  return problemAt(policy, place ? offset(place.start) : 0, place ? offset(place.end) : 0, text);
}

function problemAt(policy: PolicyText, start: number, end: number, message: string): PolicyProblem {
  const from = positionAt(policy.text, start);
  const to = positionAt(policy.text, Math.max(start, end));
  return { source: policy.source, line: from.line, column: from.column, endLine: to.line, endColumn: to.column, message };
}
