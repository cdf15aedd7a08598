import { hash } from 'node:crypto';
import * as z from 'zod';
import { visible } from '../../common/text.ts';
import { classifyMethod, type MethodClass } from '../../mcp/methods.ts';
import { compileConditions, Conditions, describeConditions, needExpressions, type Check } from '../conditions.ts';
import { subject, type Call } from '../decide.ts';
import { compileGlob, MAX_GLOB_CHARACTERS, type Matcher } from '../glob.ts';
import { goesTo, parseHosts, type Hosts } from '../hosts.ts';
import type { Narrowing, PolicyLayer, PolicyQuestion } from './layer.ts';

/** Rules of one policy. */
export const MAX_RULES = 500;
const MAX_ITEMS = 200;

const pattern = z.string().min(1).max(MAX_GLOB_CHARACTERS);
const patterns = z.array(pattern).min(1).max(MAX_ITEMS).readonly();

const ServerPattern = z
  .union([
    pattern.meta({ description: 'Name of the server as it stands in Culvert; * is any run of characters. Case does not count.' }),
    z
      .strictObject({
        host: z.string().min(1).max(255),
      })
      .refine(({ host }) => parseHosts([host]) !== undefined, 'A host is a name such as example.com, or *.example.com.')
      .meta({ description: 'Host that the server is at; *.example.com is every name below.' }),
    z.strictObject({ command: pattern }).meta({ description: 'Command line of the server; * is any run of characters.' }),
  ])
  .meta({ id: 'ServerPattern' });

const KINDS = ['tools', 'resources', 'prompts', 'completion', 'methods'] as const;

/** One rule of a policy in JSON. It can only deny or ask: there is no way to write “allow”. */
export const Rule = z
  .strictObject({
    effect: z.enum(['deny', 'ask']).meta({ description: 'deny: never. ask: the user is asked each time, whatever is granted.' }),
    servers: z.array(ServerPattern).min(1).max(MAX_ITEMS).readonly().optional().meta({ description: 'Which servers. Default: all.' }),
    exceptServers: z
      .array(ServerPattern)
      .min(1)
      .max(MAX_ITEMS)
      .readonly()
      .optional()
      .meta({ description: 'Servers that the rule leaves alone.' }),
    kinds: z
      .array(z.enum(KINDS))
      .min(1)
      .readonly()
      .optional()
      .meta({ description: 'What of them. Default: everything, or only tools if the rule speaks of tools or arguments.' }),
    tools: patterns.optional().meta({ description: 'Which tools; * is any run of characters. Default: all.' }),
    exceptTools: patterns.optional().meta({ description: 'Tools that the rule leaves alone.' }),
    writes: z
      .boolean()
      .optional()
      .meta({ description: 'true: only tools that do not say that they only read. false: only those that say so.' }),
    when: Conditions.optional().meta({ description: 'Only calls with such arguments. All must hold; in doubt they do.' }),
    unless: Conditions.optional().meta({ description: 'But not calls with such arguments. All must hold beyond doubt.' }),
    clients: z
      .array(z.enum(['vscode', 'agent']))
      .min(1)
      .readonly()
      .optional()
      .meta({ description: 'Who calls: the editor, or agents outside it. Default: both.' }),
    name: z.string().min(1).max(100).optional().meta({ description: 'Names the rule in messages and in the record.' }),
    reason: z.string().min(1).max(500).optional().meta({ description: 'Why; told to the user and the agent.' }),
  })
  .meta({ id: 'Rule' });
export type Rule = z.infer<typeof Rule>;

interface CompiledRule {
  readonly rule: Rule;
  readonly name: string;
  covers(question: PolicyQuestion, kind: MethodClass): boolean;
}

/** The layer of a list of rules. */
export function rulesLayer(name: string, rules: readonly Rule[], shadow = false): PolicyLayer {
  const compiled = rules.map((rule, i) => compileRule(rule, i));
  return {
    name,
    digest: hash('sha256', JSON.stringify(rules)),
    problems: [],
    needsExpressions: rules.some((r) => needExpressions([...(r.when ?? []), ...(r.unless ?? [])])),
    ...(shadow ? { shadow } : {}),
    narrow: (question) => {
      const kind = question.call.method === undefined ? 'session' : classifyMethod(question.call.method);
      if (kind === 'session') return undefined;
      let found: CompiledRule | undefined;
      for (const rule of compiled) {
        if (found && rule.rule.effect === 'ask') continue;
        if (!rule.covers(question, kind)) continue;
        found = rule;
        if (rule.rule.effect === 'deny') break;
      }
      return found && narrowingOf(name, found, question.call);
    },
  };
}

function compileRule(rule: Rule, index: number): CompiledRule {
  const servers = rule.servers?.map(compileServer);
  const exceptServers = rule.exceptServers?.map(compileServer);
  const tools = rule.tools?.map((p) => compileGlob(p));
  const exceptTools = rule.exceptTools?.map((p) => compileGlob(p));
  const when: Check | undefined = rule.when && compileConditions(rule.when);
  const unless: Check | undefined = rule.unless && compileConditions(rule.unless);
  const aboutTools = rule.tools ?? rule.exceptTools ?? rule.writes ?? rule.when ?? rule.unless;
  const kinds = rule.kinds ?? (aboutTools === undefined ? KINDS : (['tools'] as const));
  return {
    rule,
    name: rule.name === undefined ? `rule ${index + 1}` : visible(rule.name, 100),
    covers: ({ principal, call, tools: world, prospect }, kind) => {
      if (prospect === true && (when ?? unless)) return false;
      if (!kinds.some((k) => KIND_OF[k] === kind)) return false;
      if (rule.clients && !rule.clients.includes(principal.client)) return false;
      if (servers && !servers.some((fits) => fits(call) !== 'no')) return false;
      if (exceptServers?.some((fits) => fits(call) === 'yes') === true) return false;
      if (kind === 'tool' && !coversTool(call, tools, exceptTools, rule.writes)) return false;
      if (when && when(call.arguments, world) === 'no') return false;
      return !(unless && unless(call.arguments, world) === 'yes');
    },
  };
}

const KIND_OF: Readonly<Record<(typeof KINDS)[number], MethodClass>> = {
  tools: 'tool',
  resources: 'resource',
  prompts: 'prompt',
  completion: 'completion',
  methods: 'unknown',
};

function coversTool(
  call: Call,
  tools: readonly Matcher[] | undefined,
  except: readonly Matcher[] | undefined,
  writes: boolean | undefined,
): boolean {
  const tool = call.tool ?? '';
  if (tools && !tools.some((matches) => matches(tool))) return false;
  if (except?.some((matches) => matches(tool)) === true) return false;
  return writes === undefined || writes !== (call.reads === true);
}

type ServerTest = (call: Call) => 'yes' | 'no' | 'unclear';

function compileServer(server: z.infer<typeof ServerPattern>): ServerTest {
  if (typeof server === 'string') {
    const matches = compileGlob(server.toLowerCase());
    return ({ serverLabel }) => (matches(serverLabel.toLowerCase()) ? 'yes' : 'no');
  }
  if ('command' in server) {
    const matches = compileGlob(server.command);
    return ({ place }) => {
      if (!place) return 'unclear';
      return place.kind === 'stdio' && matches([place.command, ...place.args].join(' ')) ? 'yes' : 'no';
    };
  }
  const hosts: Hosts | undefined = parseHosts([server.host], undefined, ['https', 'http']);
  return ({ place }) => {
    if (!place || !hosts) return 'unclear';
    if (place.kind === 'stdio') return 'no';
    const url = new URL(place.url);
    // Rules go by host alone; a port is no other place.
    url.port = '';
    return goesTo(url.href, hosts);
  };
}

function narrowingOf(layer: string, { rule, name }: CompiledRule, call: Call): Narrowing {
  const where = rule.when ? ` where ${describeConditions(rule.when)}` : '';
  const unless = rule.unless ? ` unless ${describeConditions(rule.unless)}` : '';
  const said = rule.reason === undefined ? '' : ` The reason given: “${visible(rule.reason, 300)}”.`;
  const what = subject(call);
  const source = `${layer} (${name})`;
  return {
    effect: rule.effect,
    rule: name,
    reason:
      rule.effect === 'deny'
        ? `${what} is denied${where}${unless} by ${lower(source)}. No grant changes that; the rule itself would have to.${said}`
        : `${what} asks the user each time${where}${unless}, because ${lower(source)} wants that.${said}`,
  };
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
