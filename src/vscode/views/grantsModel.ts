import type { Access } from '../../authorization/access.ts';
import type { Ruling } from '../../authorization/decide.ts';
import { isLive, type Caller, type Grant, type Target } from '../../authorization/grant.ts';
import { visible } from '../../common/text.ts';
import type { KnownTool, ToolCatalog } from '../../integrity/toolCatalog.ts';
import type { Server } from '../../mcp/server.ts';
import { callOf, toolCall, type CredentialNames } from '../calls.ts';
import { ITEMS } from '../names.ts';
import { untilNextText } from '../reach.ts';
import { grantWords, serverWords, stateWords } from './grantsText.ts';

/** A server; something of it that can be switched on and off; the grants that are about more than one thing; one grant. Holds ids only. */
export type GrantRow =
  | { readonly kind: 'server'; readonly id: string; readonly server: string }
  | { readonly kind: 'tool'; readonly id: string; readonly server: string; readonly target: Target; readonly tool: string | undefined }
  | { readonly kind: 'wide'; readonly id: string; readonly server: string }
  | { readonly kind: 'grant'; readonly id: string; readonly server: string; readonly grant: string; readonly above: string };

/** What can be seen of a row. */
export interface Look {
  readonly label: string;
  readonly description: string;
  readonly icon: string | undefined;
  readonly color?: string;
  readonly context: string;
  /** Absent: the row has no box. */
  readonly ticked?: boolean;
  /** What a click on the box does. */
  readonly boxTitle?: string;
  readonly folded: 'leaf' | 'folded' | 'open';
  /** For screen readers. */
  readonly spoken: string;
  readonly badge?: Badge;
  /** What is wrong with how the server is reached. */
  readonly warning?: boolean;
}

/** What a mark at the end of a row says. */
export type Badge = 'asks' | 'denied' | 'partly' | 'branch';

/** Where the rows come from. */
export interface GrantsSource {
  readonly servers: { list(): readonly Server[]; get(id: string): Server | undefined };
  readonly access: Pick<Access, 'decide' | 'forServer' | 'policy' | 'used' | 'tasks'>;
  readonly catalog: Pick<ToolCatalog, 'tools'>;
  readonly credentials: CredentialNames;
  /** Who calls from here, with the git branch that is checked out now. */
  caller(): Caller;
  now(): number;
  /** What is wrong with how a server is reached, in a few words. */
  warning(server: Server): string | undefined;
}

/** With more servers than this they begin folded up. */
const OPEN_SERVERS = 5;

interface ServerState {
  readonly tools: ReadonlyMap<string, KnownTool>;
  /** By id of the row. */
  readonly rulings: ReadonlyMap<string, Ruling>;
  readonly live: ReadonlyMap<string, Grant>;
  /** Grants that count now, by id of the row that they are about. */
  readonly about: ReadonlyMap<string, readonly Grant[]>;
  /** Those that have no single row they belong to. */
  readonly wide: readonly Grant[];
}

const NOTHING: ServerState = { tools: new Map(), rulings: new Map(), live: new Map(), about: new Map(), wide: [] };
const EFFECTS: readonly Grant['effect'][] = ['deny', 'ask', 'allow'];
const byName = new Intl.Collator();

/** The tree of **Grants** without an editor: which rows there are and how they look. What was worked out is kept until {@link refresh}. */
export class GrantsModel {
  readonly #source: GrantsSource;
  /** One object for each row as long as it exists: VS Code knows rows by identity. */
  readonly #rows = new Map<string, GrantRow>();
  #states = new Map<string, ServerState>();
  #caller: Caller;

  constructor(source: GrantsSource) {
    this.#source = source;
    this.#caller = source.caller();
  }

  /** Forgets what was worked out, since something may have changed. */
  refresh(): void {
    this.#states = new Map();
    this.#caller = this.#source.caller();
  }

  children(row?: GrantRow): GrantRow[] {
    if (!row) return this.#source.servers.list().map(({ id }) => this.#row({ kind: 'server', id, server: id }));
    switch (row.kind) {
      case 'server':
        return this.#below(row.server);
      case 'tool':
        return this.#grantRows(row, this.#state(row.server).about.get(row.id) ?? []);
      case 'wide':
        return this.#grantRows(row, this.#state(row.server).wide);
      case 'grant':
        return [];
    }
  }

  parent(row: GrantRow): GrantRow | undefined {
    if (row.kind === 'server') return undefined;
    return row.kind === 'grant' ? this.#rows.get(row.above) : this.#row({ kind: 'server', id: row.server, server: row.server });
  }

  /** The row of a tool. */
  toolRow(server: string, tool: string): GrantRow {
    const id = idOfTool(server, tool);
    return this.#rows.get(id) ?? this.#row({ kind: 'tool', id, server, target: { kind: 'tools', names: [tool] }, tool });
  }

  /** How a row looks; `undefined` if what it stands for is gone. */
  look(row: GrantRow): Look | undefined {
    const server = this.#source.servers.get(row.server);
    if (!server) return undefined;
    switch (row.kind) {
      case 'server':
        return this.#serverLook(server);
      case 'tool':
        return this.#toolLook(server, row);
      case 'wide':
        return this.#wideLook(server);
      case 'grant':
        return this.#grantLook(server, row);
    }
  }

  /** The decision that a row stands for. */
  ruling(row: GrantRow): Ruling | undefined {
    return row.kind === 'tool' ? this.#state(row.server).rulings.get(row.id) : undefined;
  }

  /** A tool as its server describes it. */
  tool(row: GrantRow): KnownTool | undefined {
    return row.kind === 'tool' ? this.#state(row.server).tools.get(row.tool ?? '') : undefined;
  }

  /** The grant of a row, if it still counts. */
  grant(row: GrantRow): Grant | undefined {
    return row.kind === 'grant' ? this.#state(row.server).live.get(row.grant) : undefined;
  }

  /** What can be switched below a server, and how it is decided now. */
  switches(server: string): readonly { readonly target: Target; readonly effect: Ruling['effect'] }[] {
    const { rulings } = this.#state(server);
    return this.#below(server).flatMap((row) =>
      row.kind === 'tool' ? [{ target: row.target, effect: rulings.get(row.id)?.effect ?? 'deny' }] : [],
    );
  }

  /** How many tools of a server there are by what is decided about them. */
  counts(server: string): Readonly<Record<Ruling['effect'], number>> {
    const { tools, rulings } = this.#state(server);
    const counts = { allow: 0, ask: 0, deny: 0 };
    for (const name of tools.keys()) counts[rulings.get(idOfTool(server, name))?.effect ?? 'deny']++;
    return counts;
  }

  /** In how many milliseconds a time that is shown reads differently. */
  nextChange(): number | undefined {
    const now = this.#source.now();
    let next: number | undefined;
    const consider = (end: number | undefined) => {
      if (end === undefined || end <= now) return;
      const wait = untilNextText(end - now);
      next = next === undefined ? wait : Math.min(next, wait);
    };
    for (const { id } of this.#source.servers.list()) for (const grant of this.#state(id).live.values()) consider(this.#endOf(grant));
    return next;
  }

  #below(server: string): GrantRow[] {
    const { tools, wide } = this.#state(server);
    const rows = [...tools.keys()].map((tool) => this.toolRow(server, tool));
    for (const kind of ['resources', 'prompts'] as const)
      rows.push(this.#row({ kind: 'tool', id: `${server}/${kind}/`, server, target: { kind }, tool: undefined }));
    if (wide.length > 0) rows.push(this.#row({ kind: 'wide', id: `${server}/wide/`, server }));
    return rows;
  }

  #grantRows(above: GrantRow, grants: readonly Grant[]): GrantRow[] {
    return grants.map((grant) =>
      this.#row({ kind: 'grant', id: `${above.id}#${grant.id}`, server: above.server, grant: grant.id, above: above.id }),
    );
  }

  #serverLook(server: Server): Look {
    const { access } = this.#source;
    const { paused } = access.policy();
    const warning = this.#source.warning(server);
    const state = this.#state(server.id);
    const counts = this.counts(server.id);
    const description = warning ?? serverWords(counts, paused);
    const effects = [...state.rulings.values()].map((r) => r.effect);
    const reachable = effects.filter((e) => e !== 'deny').length;
    const ticked = effects.length > 0 && reachable === effects.length;
    const partly = !ticked && reachable > 0;
    const remote = server.upstream.kind !== 'stdio';
    return {
      label: server.label,
      description,
      icon: warning !== undefined ? 'warning' : paused ? 'debug-pause' : remote ? 'server' : 'terminal',
      ...(warning === undefined ? {} : { color: 'errorForeground', warning: true }),
      context: ITEMS.server,
      ...(state.tools.size === 0
        ? {}
        : { ticked, boxTitle: ticked ? 'Take all access to this server away' : 'Allow everything below that is not ticked' }),
      folded: this.#source.servers.list().length > OPEN_SERVERS ? 'folded' : 'open',
      spoken: `${server.label}, server, ${description}${partly ? ', partly ticked' : ''}`,
    };
  }

  #toolLook(server: Server, row: GrantRow & { kind: 'tool' }): Look {
    const ruling = this.#state(server.id).rulings.get(row.id);
    const tool = this.tool(row);
    const label = row.target.kind === 'resources' ? 'Resources' : row.target.kind === 'prompts' ? 'Prompts' : visible(row.tool ?? '', 80);
    const { words, badge } = stateWords(ruling, {
      now: this.#source.now(),
      endOf: (grant) => this.#endOf(grant),
      used: (grant) => this.#source.access.used(grant),
    });
    // What is allowed under conditions alone is reachable, too.
    const ticked = ruling !== undefined && (ruling.effect !== 'deny' || badge === 'partly');
    const icon =
      row.target.kind === 'resources' ? 'files' : row.target.kind === 'prompts' ? 'note' : tool?.reads === true ? 'eye' : 'tools';
    return {
      label,
      description: words,
      icon,
      context: `${ITEMS.tool}.${ruling?.effect ?? 'deny'}`,
      ticked,
      boxTitle: ticked ? 'Deny' : 'Allow',
      folded: this.#state(server.id).about.has(row.id) ? 'folded' : 'leaf',
      spoken: `${label} of ${server.label}, ${words}${tool?.reads === true ? ', says that it only reads' : ''}`,
      ...(badge === undefined ? {} : { badge }),
    };
  }

  #wideLook(server: Server): Look {
    const grants = this.#state(server.id).wide;
    const [first] = grants;
    const words = grants.length === 1 && first ? this.#words(first).label : `${grants.length} grants`;
    return {
      label: 'For the whole server',
      description: words,
      icon: 'layers',
      context: ITEMS.wide,
      folded: 'folded',
      spoken: `Grants for the whole of ${server.label}: ${words}`,
    };
  }

  #grantLook(server: Server, row: GrantRow & { kind: 'grant' }): Look | undefined {
    const grant = this.grant(row);
    if (!grant) return undefined;
    const above = this.#rows.get(row.above);
    const { label, description } = this.#words(grant, above?.kind === 'tool' ? above.target : undefined);
    return {
      label,
      description,
      icon: this.#isElsewhere(grant)
        ? 'circle-outline'
        : grant.effect === 'allow'
          ? grant.conditions
            ? 'filter'
            : 'check'
          : grant.effect === 'ask'
            ? 'question'
            : 'circle-slash',
      context: ITEMS.grant,
      folded: 'leaf',
      spoken: `Grant of ${server.label}: ${label}, ${description}`,
    };
  }

  #words(grant: Grant, under?: Target) {
    const task = grant.endsWith?.kind === 'task' ? this.#source.access.tasks.get(grant.endsWith.task)?.name : undefined;
    return grantWords(grant, {
      under,
      now: this.#source.now(),
      end: this.#endOf(grant),
      used: grant.uses === undefined ? 0 : this.#source.access.used(grant.id),
      task,
      elsewhere: this.#isElsewhere(grant),
    });
  }

  /** Whether a grant is for another git branch than the one that is checked out. */
  #isElsewhere({ scope: { branch } }: Grant): boolean {
    return branch !== undefined && branch !== this.#caller.branch;
  }

  /** When a grant ends by the clock, or with its task. */
  #endOf(grant: Grant): number | undefined {
    const task = grant.endsWith?.kind === 'task' ? this.#source.access.tasks.get(grant.endsWith.task)?.endsAt : undefined;
    if (grant.expiresAt === undefined || task === undefined) return grant.expiresAt ?? task;
    return Math.min(grant.expiresAt, task);
  }

  #state(id: string): ServerState {
    let state = this.#states.get(id);
    if (!state) this.#states.set(id, (state = this.#work(id)));
    return state;
  }

  #work(id: string): ServerState {
    const { servers, access, catalog, credentials } = this.#source;
    const server = servers.get(id);
    if (!server) return NOTHING;
    const tools = new Map([...catalog.tools(id)].sort((a, b) => byName.compare(a.name, b.name)).map((tool) => [tool.name, tool]));
    const rulings = new Map<string, Ruling>();
    for (const { name, reads } of tools.values())
      rulings.set(idOfTool(id, name), access.decide(this.#caller, toolCall(server, credentials, name, reads)));
    for (const kind of ['resources', 'prompts'] as const)
      rulings.set(`${id}/${kind}/`, access.decide(this.#caller, callOf(server, credentials, { kind })));
    const about = new Map<string, Grant[]>();
    const wide: Grant[] = [];
    const live = new Map<string, Grant>();
    for (const grant of [...access.forServer(id)].sort(inOrder)) {
      if (!this.#isInForce(grant)) continue;
      live.set(grant.id, grant);
      const { target } = grant;
      const rows =
        target.kind === 'tools' ? target.names.map((name) => idOfTool(id, name)) : isRow(target) ? [`${id}/${target.kind}/`] : [];
      if (rows.length === 0) wide.push(grant);
      for (const row of rows) {
        const list = about.get(row);
        if (list) list.push(grant);
        else about.set(row, [grant]);
      }
    }
    return { tools, rulings, live, about, wide };
  }

  /** Whether a grant can let anything through in this window, or keep it back. */
  #isInForce(grant: Grant): boolean {
    const { access } = this.#source;
    const { endsWith } = grant;
    if (!isLive(grant, this.#source.now())) return false;
    if (endsWith?.kind === 'task') return access.tasks.runs(endsWith.task);
    return endsWith?.kind !== 'window' || endsWith.window === this.#caller.window;
  }

  #row(row: GrantRow): GrantRow {
    const known = this.#rows.get(row.id);
    if (known) return known;
    this.#rows.set(row.id, row);
    return row;
  }
}

function idOfTool(server: string, tool: string): string {
  return `${server}/tools/${tool}`;
}

/** What denies before what asks before what allows, as it is decided; the newest first. */
function inOrder(a: Grant, b: Grant): number {
  return EFFECTS.indexOf(a.effect) - EFFECTS.indexOf(b.effect) || b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1);
}

/** Whether a target has a row of its own beside the tools. */
function isRow(target: Target): boolean {
  return target.kind === 'resources' || target.kind === 'prompts';
}
