/**
 * The Cedar schema that an organisation's policy is checked against (docs/policy.md). Arguments have names that only the server knows, so
 * they are tags, by the path that conditions use as well: `context.texts.getTag("/repo/owner")`.
 *
 * Source: https://docs.cedarpolicy.com/schema/human-readable-schema.html
 */
export const CEDAR_SCHEMA = `
// Who calls. Ids: "vscode" (the editor) and "agent" (agents outside it).
entity Client { window: String, workspace?: String, branch?: String };

// The server as it really is. Id: its origin, such as "https://api.example.com", or "command:npx -y some-server".
entity Server {
  label: String,       // the user's name for it: not to be relied on
  transport: String,   // "http", "sse" or "stdio"
  url: String,         // "" for commands
  host: String,        // "" for commands
  command: String,     // "" for addresses
  ssh: String,         // the host that it is reached through, or ""
};

// Arguments by their path: texts, whole numbers, true and false, and lists of texts. "/repo/owner" is owner in repo.
entity Texts tags String;
entity Numbers tags Long;
entity Flags tags Bool;
entity Lists tags Set<String>;

type Call = {
  texts: Texts,
  numbers: Numbers,
  flags: Flags,
  lists: Lists,
  paths: Set<String>,       // every path that the arguments have
  readable: Bool,           // false: the arguments are not known or could not be read
  reads: Bool,              // the tool says that it only reads
  credentials: Set<String>, // names of the credentials that go along
  task?: String,            // the task under which the call is allowed
  time: datetime,
  hour: Long,               // 0 to 23, local time
  weekday: Long,            // 1 is Monday, 7 is Sunday, local time
};

// A tool is an action of its own name in "tools": action == Action::"create_issue", action in Action::"tools".
action "tools";
action "resources", "prompts", "completion", "methods";
`;

/** Groups of the schema, and what an action that is no tool is called. */
export const ACTION_GROUPS = ['tools', 'resources', 'prompts', 'completion', 'methods'] as const;

/** The schema with the actions that a policy names, and one for each group, so that every rule can be checked. */
export function schemaWith(actions: Iterable<string>): string {
  const lines = [CEDAR_SCHEMA];
  const applies = 'appliesTo { principal: Client, resource: Server, context: Call };';
  const groups = new Set<string>(ACTION_GROUPS);
  for (const group of ACTION_GROUPS) lines.push(`action ${JSON.stringify(`any of ${group}`)} in [${JSON.stringify(group)}] ${applies}`);
  for (const name of new Set(actions)) if (!groups.has(name)) lines.push(`action ${cedarText(name)} in ["tools"] ${applies}`);
  return lines.join('\n');
}

/** A string literal of Cedar. */
export function cedarText(text: string): string {
  return `"${text.replace(/[\\"\p{C}]/gu, (c) => (c === '\\' || c === '"' ? `\\${c}` : `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`))}"`;
}
