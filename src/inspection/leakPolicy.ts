/** What may be done about a finding, from nothing to everything. */
export const LEAK_ACTIONS = ['off', 'warn', 'redact', 'block'] as const;
export type LeakAction = (typeof LEAK_ACTIONS)[number];

/**
 * What settings speak of: `known` values (canaries too), the three tiers of pattern rules, and `hidden` text.
 */
export const LEAK_TIERS = ['known', 'exact', 'structured', 'generic', 'hidden'] as const;
export type LeakTier = (typeof LEAK_TIERS)[number];

/** Settings of one place (the user’s, or a workspace’s). What is absent says nothing. */
export interface LeakSettings {
  readonly tiers?: Partial<Readonly<Record<LeakTier, LeakAction>>>;
  /** By label of the server. */
  readonly servers?: Readonly<Record<string, Partial<Readonly<Record<LeakTier, LeakAction>>>>>;
  /** Files with further rules in the format of gitleaks. */
  readonly ruleFiles?: readonly string[];
  /** Ids of rules that find nothing any more. */
  readonly ignoredRules?: readonly string[];
  /** Whether secretlint’s rules are used beside our own. */
  readonly secretlint?: boolean;
}

/**
 * What is done, by tier. Towards the model: `off` looks away, `warn` lets pass and tells, `redact` puts a mark in place, `block` lets
 * nothing of the message pass. Towards servers a value can't be marked: `redact` asks the user there, `block` denies without asking.
 */
export interface LeakPolicy {
  readonly tiers: Readonly<Record<LeakTier, LeakAction>>;
  /** By label; only what differs from {@link tiers}. */
  readonly servers: Readonly<Record<string, Readonly<Record<LeakTier, LeakAction>>>>;
  readonly ruleFiles: readonly string[];
  readonly ignoredRules: ReadonlySet<string>;
  readonly secretlint: boolean;
}

/** What holds where nobody says anything. */
export const DEFAULT_LEAK_ACTIONS: Readonly<Record<LeakTier, LeakAction>> = {
  known: 'redact',
  exact: 'redact',
  structured: 'redact',
  generic: 'warn',
  hidden: 'redact',
};

/** What no setting goes below: the vault’s own values never reach the model. */
const LEAST: Readonly<Record<LeakTier, LeakAction>> = { known: 'redact', exact: 'off', structured: 'off', generic: 'off', hidden: 'off' };

/** Most servers, files and rules that settings may name. */
const MAX_ENTRIES = 1_000;

/** The stricter of two. */
export function stricter(a: LeakAction, b: LeakAction): LeakAction {
  return LEAK_ACTIONS.indexOf(a) >= LEAK_ACTIONS.indexOf(b) ? a : b;
}

/**
 * What holds for a user in a workspace: the user’s settings, which the workspace can only make stricter. It can add rule files and
 * switch secretlint’s rules on; what it ignores does not count.
 */
export function effectiveLeakPolicy(user: LeakSettings, workspace: LeakSettings): LeakPolicy {
  const of = (settings: LeakSettings, server: string | undefined, tier: LeakTier): LeakAction | undefined =>
    (server === undefined ? undefined : ownOf(settings.servers, server)?.[tier]) ?? settings.tiers?.[tier];
  const row = (server: string | undefined) =>
    Object.fromEntries(
      LEAK_TIERS.map((tier) => {
        const wanted = of(user, server, tier) ?? DEFAULT_LEAK_ACTIONS[tier];
        return [tier, stricter(stricter(wanted, of(workspace, server, tier) ?? 'off'), LEAST[tier])];
      }),
    ) as Record<LeakTier, LeakAction>;
  const labels = new Set([...Object.keys(user.servers ?? {}), ...Object.keys(workspace.servers ?? {})]);
  return {
    tiers: row(undefined),
    servers: Object.fromEntries([...labels].map((label) => [label, row(label)])),
    ruleFiles: [...new Set([...(user.ruleFiles ?? []), ...(workspace.ruleFiles ?? [])])].slice(0, MAX_ENTRIES),
    ignoredRules: new Set(user.ignoredRules ?? []),
    secretlint: user.secretlint === true || workspace.secretlint === true,
  };
}

/** What holds where nobody set anything. */
export const DEFAULT_LEAK_POLICY: LeakPolicy = effectiveLeakPolicy({}, {});

/** What is done about findings of a tier at a server. */
export function leakAction(policy: LeakPolicy, serverLabel: string, tier: LeakTier): LeakAction {
  return (ownOf(policy.servers, serverLabel) ?? policy.tiers)[tier];
}

/** Reads settings as a settings file has them. What is not understood says nothing, and so can't switch anything off. */
export function readLeakSettings(raw: {
  readonly tiers?: unknown;
  readonly servers?: unknown;
  readonly ruleFiles?: unknown;
  readonly ignoredRules?: unknown;
  readonly secretlint?: unknown;
}): LeakSettings {
  const servers = Object.entries(recordOf(raw.servers))
    .slice(0, MAX_ENTRIES)
    .map(([label, tiers]) => [label, tiersOf(tiers)] as const);
  return {
    tiers: tiersOf(raw.tiers),
    servers: Object.fromEntries(servers),
    ruleFiles: textsOf(raw.ruleFiles),
    ignoredRules: textsOf(raw.ignoredRules),
    ...(typeof raw.secretlint === 'boolean' ? { secretlint: raw.secretlint } : {}),
  };
}

function tiersOf(value: unknown): Partial<Record<LeakTier, LeakAction>> {
  const record = recordOf(value);
  const out: Partial<Record<LeakTier, LeakAction>> = {};
  for (const tier of LEAK_TIERS) {
    const action = LEAK_ACTIONS.find((known) => known === record[tier]);
    if (action !== undefined) out[tier] = action;
  }
  return out;
}

function textsOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((item): item is string => typeof item === 'string' && item !== '').slice(0, MAX_ENTRIES);
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function ownOf<T>(record: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return record !== undefined && Object.hasOwn(record, key) ? record[key] : undefined;
}
