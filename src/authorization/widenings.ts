import { visible } from '../common/text.ts';
import { classifyMethod } from '../mcp/methods.ts';
import { childPath, type CallArguments, type Value } from './arguments.ts';
import type { Condition } from './conditions.ts';
import type { Call } from './decide.ts';
import { describeGrant, type GrantTerms, type Target } from './grant.ts';

/** A grant that could be given from the call at hand, without its callers and its end, which the user chooses beside it. */
export interface Proposal {
  /** Names the step within one ladder. */
  readonly id: string;
  /** A few words for a list: `owner “acme”, repo “shop”, anything else`. */
  readonly label: string;
  /** The grant spelled out: `allow create_issue where owner is “acme” and repo is “shop”`. */
  readonly words: string;
  readonly target: Target;
  readonly conditions?: readonly Condition[];
}

/** Names of arguments that say what a call is about rather than what it does, widest first: an issue belongs to a repository of an owner. */
const IDENTITY: readonly (readonly string[])[] = [
  ['org', 'organization', 'organisation', 'owner', 'account', 'tenant', 'workspace', 'team', 'user', 'username'],
  ['cluster', 'environment', 'env', 'region', 'site', 'domain'],
  [
    'repo',
    'repository',
    'project',
    'projectid',
    'projectkey',
    'namespace',
    'bucket',
    'database',
    'db',
    'schema',
    'catalog',
    'spaceid',
    'space',
  ],
  ['table', 'collection', 'index', 'channel', 'channelid', 'board', 'folder', 'branch', 'ref', 'dashboard'],
];
/** Longest value that a proposal names, characters: more can't be read at a glance. */
const MAX_VALUE_CHARACTERS = 80;
/** Arguments that one proposal names. */
const MAX_NAMED = 4;
/** What stands where a secret was taken out; no call ever says that. */
const REDACTED = /⟦culvert:|\[culvert: redacted\]/;

export interface WideningOptions {
  /** True for a value that must not be stored with a grant, such as a secret. */
  readonly unfit?: (text: string) => boolean;
}

/**
 * The ladder from exactly this call to everything that is like it, narrowest first: the same arguments; the same subject (owner and
 * repository, folder, host) with anything else; the subject less and less; the tool with any arguments; the tools that only read.
 */
export function widenings(call: Call, args: CallArguments | undefined, options: WideningOptions = {}): readonly Proposal[] {
  const { tool } = call;
  if (call.method === undefined || classifyMethod(call.method) !== 'tool' || tool === undefined) return otherThanTools(call);
  const target: Target = { kind: 'tools', names: [tool] };
  const proposals: Proposal[] = [];
  const propose = (id: string, label: string, conditions?: readonly Condition[], to: Target = target) => {
    const terms: GrantTerms = { effect: 'allow', target: to, scope: {}, ...(conditions ? { conditions } : {}) };
    proposals.push({ id, label, words: describeGrant(terms), target: to, ...(conditions ? { conditions } : {}) });
  };
  const root = args?.root();
  const digest = args?.digest();
  const members = root?.kind === 'object' ? root.members : new Map<string, Value>();
  if (digest !== undefined && members.size > 0 && !holdsUnfit(root, options))
    propose('same', 'Exactly this call', [{ test: 'same', sha256: digest }]);
  const places = placesOf(members, options);
  const subjects = subjectsOf(members, options);
  const named = [...subjects, ...places].slice(0, MAX_NAMED);
  // Widest last: what says least falls away first.
  for (let count = named.length; count > 0; count--) {
    const kept = named.slice(0, count);
    propose(
      `named-${count}`,
      `${kept.map((n) => n.label).join(', ')}${members.size > count ? ', anything else' : ''}`,
      kept.map((n) => n.condition),
    );
  }
  propose('tool', 'This tool, any arguments');
  if (call.reads === true) propose('reading', 'All tools of this server that only read', undefined, { kind: 'reading-tools' });
  return proposals;
}

interface Named {
  readonly label: string;
  readonly condition: Condition;
}

function otherThanTools({ method }: Call): readonly Proposal[] {
  const kind = method === undefined ? 'session' : classifyMethod(method);
  const one = (target: Target, label: string): readonly Proposal[] => [
    { id: 'kind', label, words: describeGrant({ effect: 'allow', target, scope: {} }), target },
  ];
  if (kind === 'resource') return one({ kind: 'resources' }, 'All resources of this server');
  if (kind === 'prompt') return one({ kind: 'prompts' }, 'All prompts of this server');
  if (kind === 'completion') return one({ kind: 'completion' }, 'Completion');
  return method === undefined ? [] : one({ kind: 'methods', names: [method] }, 'This method');
}

/** Arguments that name what the call is about, widest first. */
function subjectsOf(members: ReadonlyMap<string, Value>, options: WideningOptions): Named[] {
  const rank = (key: string) => {
    const plain = key.toLowerCase().replace(/[^a-z]/g, '');
    return IDENTITY.findIndex((names) => names.includes(plain));
  };
  return [...members]
    .map(([key, value]) => ({ key, value, rank: rank(key) }))
    .filter(({ rank: r }) => r >= 0)
    .sort((a, b) => a.rank - b.rank)
    .flatMap(({ key, value }): Named[] => {
      const scalar = value.kind === 'string' ? value.text : value.kind === 'number' ? Number(value.text) : undefined;
      if (scalar === undefined || scalar === '' || (typeof scalar === 'string' && !fits(scalar, options))) return [];
      if (typeof scalar === 'string' && isPlace(scalar)) return [];
      if (typeof scalar === 'number' && !Number.isSafeInteger(scalar)) return [];
      const shown = typeof scalar === 'string' ? `“${visible(scalar, 40)}”` : String(scalar);
      return [{ label: `${visible(key, 40)} ${shown}`, condition: { test: 'equals', at: childPath('', key), value: scalar } }];
    });
}

/** Absolute paths become their folder, URLs their host. */
function placesOf(members: ReadonlyMap<string, Value>, options: WideningOptions): Named[] {
  return [...members].flatMap(([key, value]): Named[] => {
    if (value.kind !== 'string' || !fits(value.text, options, 1_024)) return [];
    const at = childPath('', key);
    if (/^https?:\/\//i.test(value.text) && URL.canParse(value.text)) {
      const { hostname, port, protocol } = new URL(value.text);
      const ports = port === '' ? {} : { ports: [Number(port)] };
      const condition: Condition = { test: 'host', at, hosts: [hostname], schemes: [protocol.slice(0, -1)], ...ports };
      return [{ label: `${visible(key, 40)} at ${visible(hostname, 60)}`, condition }];
    }
    const folder = folderOf(value.text);
    return folder === undefined
      ? []
      : [{ label: `${visible(key, 40)} in ${visible(folder, 60)}`, condition: { test: 'below', at, folder } }];
  });
}

function isPlace(text: string): boolean {
  return /^https?:\/\//i.test(text) || folderOf(text) !== undefined;
}

/** The folder of an absolute path that needs no interpretation. Never a root: that would be everything. */
function folderOf(text: string): string | undefined {
  if (/(^|[\\/])\.{1,2}([\\/]|$)/.test(text)) return undefined;
  const [, posix] = /^((?:\/[^/\\]+)+)\/[^/\\]*$/.exec(text) ?? [];
  if (posix !== undefined) return posix;
  const [, windows] = /^([A-Za-z]:(?:[\\/][^\\/]+)+)[\\/][^\\/]*$/.exec(text) ?? [];
  return windows;
}

function fits(text: string, { unfit }: WideningOptions, max = MAX_VALUE_CHARACTERS): boolean {
  return text.length <= max && visible(text) === text && !REDACTED.test(text) && unfit?.(text) !== true;
}

function holdsUnfit(value: Value | undefined, options: WideningOptions): boolean {
  switch (value?.kind) {
    case 'string':
      return REDACTED.test(value.text);
    case 'list':
      return value.elements.some((e) => holdsUnfit(e, options));
    case 'object':
      return [...value.members.values()].some((m) => holdsUnfit(m, options));
    default:
      return false;
  }
}
