/** Why a value is taken for a secret. */
export interface SecretLook {
  /** Stable id of the rule: `shape:github`, `name:token`, … */
  readonly rule: string;
  /** For people: what it looks like, as in “a GitHub token”. */
  readonly what: string;
  /** By shape (the provider's own prefix), not just by the name beside it. */
  readonly certain: boolean;
}

/**
 * Port: whether a value under this name (variable, header, parameter, option) is a secret. The extension may put the rules of
 * `src/detection` here; {@link looksSecret} is what counts without them.
 */
export type LooksSecret = (name: string | undefined, value: string) => SecretLook | undefined;

/** Shortest value that a name alone makes a secret, in characters; Culvert's vault takes nothing shorter. */
export const MIN_SECRET_CHARACTERS = 8;

/** How much of a value is looked at, in characters: the longest secret that Culvert's vault takes. */
const MAX_SCANNED_CHARACTERS = 16 * 1024;

/** Providers' own prefixes, most specific first. Sources: the providers' documentation of their token formats. */
const SHAPES: readonly (readonly [rule: string, what: string, pattern: RegExp])[] = [
  ['private-key', 'a private key', /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/],
  ['github', 'a GitHub token', /\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{22,})/],
  ['gitlab', 'a GitLab token', /\bgl(?:pat|dt|ptt|cbt|rt|ft|soat|agent)-[A-Za-z0-9_.-]{20,}/],
  ['anthropic', 'an Anthropic key', /\bsk-ant-[A-Za-z0-9_-]{20,}/],
  ['openai', 'an OpenAI key', /\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}/],
  ['openrouter', 'an OpenRouter key', /\bsk-or-[A-Za-z0-9_-]{20,}/],
  ['slack', 'a Slack token', /\bxox[abeoprs](?:-[A-Za-z0-9]+){2,}|\bxapp-\d-[A-Za-z0-9-]{20,}/],
  ['aws', 'an AWS access key id', /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/],
  ['google', 'a Google API key', /\bAIza[A-Za-z0-9_-]{35}/],
  ['google-oauth', 'a Google OAuth secret', /\bGOCSPX-[A-Za-z0-9_-]{20,}|\bya29\.[A-Za-z0-9_-]{20,}/],
  ['stripe', 'a Stripe key', /\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}/],
  ['npm', 'an npm token', /\bnpm_[A-Za-z0-9]{30,}/],
  ['pypi', 'a PyPI token', /\bpypi-[A-Za-z0-9_-]{50,}/],
  ['huggingface', 'a Hugging Face token', /\bhf_[A-Za-z0-9]{30,}/],
  ['notion', 'a Notion token', /\b(?:ntn_[A-Za-z0-9]{30,}|secret_[A-Za-z0-9]{40,})/],
  ['linear', 'a Linear key', /\blin_(?:api|oauth)_[A-Za-z0-9]{30,}/],
  ['figma', 'a Figma token', /\bfig[dou]r?_[A-Za-z0-9_-]{30,}/],
  ['sentry', 'a Sentry token', /\bsntr[yu]s_[A-Za-z0-9_+/=-]{40,}/],
  ['supabase', 'a Supabase token', /\bsbp_[a-f0-9]{40}/],
  ['atlassian', 'an Atlassian token', /\bATATT[A-Za-z0-9_=-]{40,}/],
  ['telegram', 'a Telegram bot token', /\b\d{8,10}:AA[A-Za-z0-9_-]{30,}/],
  ['jwt', 'a JSON Web Token', /\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}/],
];

const PASSWORD_IN_URL = /\b[a-z][a-z0-9+.-]{0,30}:\/\/[^\s/:@]{1,256}:([^\s/@]{1,1024})@/i;

/** Names that hold a secret in nearly every server's documentation. */
const SECRET_NAME =
  /(?:^|[^a-z])(?:pat|pass|pwd|auth|bearer|jwt)(?:$|[^a-z])|token|secret|passw(?:or)?d|passphrase|api[-_]?key|apikey|access[-_]?key|private[-_]?key|service[-_]?key|signing[-_]?key|encryption[-_]?key|client[-_]?key|credential|authori[sz]ation|cookie|connection[-_]?string|(?:^|[-_])(?:key|dsn)$/i;
/** Names of the same words that hold something else: how many, where, whether. */
const HARMLESS_NAME =
  /(?:max|min|num|count|limit)[-_]?tokens?|tokens?[-_]?(?:limit|count|budget|type|url|uri|endpoint|file|path|ttl|lifetime|expiry)|(?:key|secret|token|password|credentials?|auth)[-_]?(?:id|name|file|path|dir|url|uri|endpoint|type|mode|method|provider|host|port|enabled|scheme|version|region|store|length|header|vault)s?$|public[-_]?key|^authority$|oauth[-_]?(?:scopes?|client[-_]?id|redirect.*)$|tokenizer/i;
/** What people write where a secret should go. */
const STAND_IN =
  /^(?:<.*>|\[.*\]|\{.*\}|\(.*\)|x{3,}|\*{3,}|\.{3,}|…|y?our[-_ ].*|.*[-_ ]here|enter[-_ ].*|insert[-_ ].*|add[-_ ].*|replace.*|change[-_ ]?(?:me|this|it).*|todo.*|example.*|dummy.*|placeholder.*|sample.*|redacted.*|secret|password|token|none|null|undefined|true|false|yes|no|on|off)$/i;

/** The default rules: a provider's shape, a password inside a URL, or a telling name with a value that is none of the usual stand-ins. */
export const looksSecret: LooksSecret = (name, value) => {
  const text = value.slice(0, MAX_SCANNED_CHARACTERS).trim();
  if (text === '' || STAND_IN.test(text)) return undefined;
  for (const [rule, what, pattern] of SHAPES) if (pattern.test(text)) return { rule: `shape:${rule}`, what, certain: true };
  const password = PASSWORD_IN_URL.exec(text)?.[1];
  if (password !== undefined && !STAND_IN.test(password) && !password.includes('$'))
    return { rule: 'shape:url-password', what: 'a password in a URL', certain: true };
  if (name === undefined || !SECRET_NAME.test(name) || HARMLESS_NAME.test(name)) return undefined;
  if (text.length < MIN_SECRET_CHARACTERS || /^-?\d+(?:\.\d+)?$/.test(text) || isPlace(text)) return undefined;
  return { rule: 'name', what: `a value named ${name}`, certain: false };
};

/** A path or a plain URL: a telling name often points at where the secret is kept. */
function isPlace(text: string): boolean {
  return /^(?:~?\.{0,2}\/|[A-Za-z]:\\|https?:\/\/)/.test(text);
}

/**
 * A value for showing: at most its first four and last two characters, and none of them if that would be more than a third of it.
 * `ghp_…3f (40 characters)`.
 */
export function maskSecret(value: string): string {
  const length = Array.from(value).length;
  const words = `${length} character${length === 1 ? '' : 's'}`;
  if (length < 18 || /\s/.test(value)) return `… (${words})`;
  return `${value.slice(0, 4)}…${value.slice(-2)} (${words})`;
}
