import type { ActivityFilter } from '../../audit/activityFilter.ts';
import type { ActivityConversation, ActivityIndex, ActivityPage } from '../../audit/activityIndex.ts';
import type { Activity } from '../../audit/activities.ts';
import { looksOf, redraws, topmost, type LoadedRows } from './activityChanges.ts';
import {
  callRow,
  conversationFace,
  dayFace,
  keepSame,
  sums,
  updated,
  type ActivityRow,
  type CallRow,
  type ConversationRow,
  type DayRow,
  type MoreRow,
} from './activityRows.ts';

/** Calls that a conversation shows at first and with every “Load more”. */
export const PAGE = 100;
/** Days at first and with every “Load more”. */
export const DAYS = 7;
/** Calls that a search shows at first and with every “Load more”. */
const FOUND = 100;
/** How long a conversation is read, milliseconds. */
const FILL_MS = 1_500;
/** How long a search goes on until it says what it has, milliseconds: some hundred thousand calls. */
const SEARCH_MS = 5_000;
/** Conversations of the newest day that are open from the start. */
const OPEN_CONVERSATIONS = 3;
/** Days that live changes can still concern. */
const LIVE_DAYS = 2;
/** Calls without an end, beside the newest, that are looked at again. */
const MAX_OPEN_CALLS = 20;

/** Where the rows come from. */
export type ActivitySource = Pick<ActivityIndex, 'days' | 'conversations' | 'calls' | 'record'>;

interface Calls {
  rows: CallRow[];
  limit: number;
  next: number | undefined;
}

/**
 * Rows of the activity view and how they change. Only what is unfolded is loaded, page by page; what looks the same stays the same object.
 * With a text to search for, rows are those of the calls found so far; else they come day by day from the index.
 */
export class ActivityTree {
  readonly #source: ActivitySource;
  readonly #now: () => number;
  #filter: ActivityFilter = {};
  #days: DayRow[] = [];
  #moreDays = false;
  #loaded = false;
  #dayLimit = DAYS;
  readonly #conversations = new Map<DayRow, ConversationRow[]>();
  readonly #calls = new Map<ConversationRow, Calls>();
  /** Calls found by a text, newest first. */
  #found: Activity[] = [];
  #searchNext: number | undefined;
  /** Rows whose numbers changed. */
  readonly #late = new Set<ActivityRow>();

  constructor(source: ActivitySource, now: () => number) {
    this.#source = source;
    this.#now = now;
  }

  /** What is shown. Setting it forgets everything that was loaded. */
  set filter(filter: ActivityFilter) {
    this.#filter = { ...filter, named: true };
    this.reset();
  }

  /** Forgets everything that was loaded; unfolded rows load anew. */
  reset(): void {
    this.#loaded = false;
    this.#days = [];
    this.#dayLimit = DAYS;
    this.#conversations.clear();
    this.#calls.clear();
    this.#found = [];
    this.#searchNext = undefined;
    this.#late.clear();
  }

  /** Whether nothing was called, or nothing that the filter means. */
  isEmpty(): boolean {
    return this.#days.length === 0;
  }

  async children(row?: ActivityRow): Promise<ActivityRow[]> {
    if (row === undefined) {
      if (!this.#loaded) await this.#load();
      return this.#moreDays ? [...this.#days, this.#more(undefined)] : [...this.#days];
    }
    if (row.kind === 'day') return (await this.#ofDay(row)).slice();
    if (row.kind !== 'conversation') return [];
    const calls = await this.#ofConversation(row);
    return calls.next === undefined ? [...calls.rows] : [...calls.rows, this.#more(row)];
  }

  parent(row: ActivityRow): ActivityRow | undefined {
    return row.kind === 'conversation' ? row.day : row.kind === 'day' ? undefined : row.parent;
  }

  /** Lets go of what a folded row had loaded. */
  fold(row: ActivityRow): void {
    if (this.#searching) return;
    if (row.kind === 'conversation') this.#calls.delete(row);
    if (row.kind !== 'day') return;
    for (const conversation of this.#conversations.get(row) ?? []) this.#calls.delete(conversation);
    this.#conversations.delete(row);
  }

  /** Loads a page more; returns the row whose children changed, `undefined` for the root. */
  async more(row: MoreRow): Promise<ActivityRow | undefined> {
    const { parent } = row;
    if (parent) {
      const calls = await this.#ofConversation(parent);
      calls.limit += PAGE;
      await this.#fill(parent, calls);
    } else if (this.#searching) {
      await this.#search();
      this.#group();
    } else {
      this.#dayLimit += DAYS;
      await this.#loadDays();
    }
    return parent;
  }

  /** Looks what is new; returns the rows to draw again, `[undefined]` for everything. What can wait is told by {@link takeLate}. */
  async refresh(): Promise<readonly (ActivityRow | undefined)[]> {
    if (!this.#loaded) return [];
    const before = looksOf(this.#loadedRows);
    if (this.#searching) await this.#searchNewest();
    else await this.#refreshNewest();
    const { now, later } = redraws(before, looksOf(this.#loadedRows), this.parent.bind(this));
    for (const row of later) this.#late.add(row);
    for (const row of now) if (row) this.#late.delete(row);
    if (now.includes(undefined)) this.#late.clear();
    return now;
  }

  /** Whether rows count something else than they show. */
  get isLate(): boolean {
    return this.#late.size > 0;
  }

  /** Rows to draw again when there is time, since they count something else than they show. */
  takeLate(): ActivityRow[] {
    const rows = topmost(this.#late, this.parent.bind(this));
    this.#late.clear();
    return rows;
  }

  get #loadedRows(): LoadedRows {
    return { days: this.#days, more: this.#moreDays, conversations: this.#conversations, calls: this.#calls };
  }

  get #searching(): boolean {
    return this.#filter.text !== undefined && this.#filter.text !== '';
  }

  async #load(): Promise<void> {
    if (this.#searching) {
      this.#found = [];
      this.#searchNext = undefined;
      await this.#search();
      this.#group();
    } else await this.#loadDays();
    this.#loaded = true;
  }

  // ---- day by day -------------------------------------------------------------------------------------------

  async #loadDays(): Promise<void> {
    const last = this.#days.at(-1);
    const days = await this.#source.days(this.#filter, {
      limit: this.#dayLimit - this.#days.length + 1,
      ...(last === undefined ? {} : { before: last.from }),
    });
    const room = this.#dayLimit - this.#days.length;
    for (const day of days.slice(0, room)) this.#days.push(this.#dayRow(day, this.#days.length === 0));
    this.#moreDays = days.length > room;
  }

  #dayRow(day: Parameters<typeof dayFace>[0] & { readonly to: number }, expanded: boolean): DayRow {
    return { kind: 'day', id: `day ${day.from}`, from: day.from, to: day.to, face: dayFace(day, this.#now(), expanded) };
  }

  async #ofDay(day: DayRow): Promise<ConversationRow[]> {
    let rows = this.#conversations.get(day);
    if (!rows) {
      rows = await this.#readDay(day, []);
      this.#conversations.set(day, rows);
    }
    return rows;
  }

  async #readDay(day: DayRow, known: readonly ConversationRow[]): Promise<ConversationRow[]> {
    const conversations = await this.#source.conversations({ ...this.#filter, from: day.from, to: day.to });
    return this.#conversationRows(day, conversations, known);
  }

  #conversationRows(
    day: DayRow,
    conversations: readonly Omit<ActivityConversation, 'firstAt'>[],
    known: readonly ConversationRow[],
  ): ConversationRow[] {
    const byId = new Map(known.map((row) => [row.id, row]));
    const newest = day === this.#days[0];
    return conversations.map((of, at) => {
      const id = `${day.id} ${JSON.stringify([of.client, of.clientName, of.conversation])}`;
      const row = byId.get(id);
      if (row) {
        row.face = keepSame(row.face, conversationFace(of, row.face.expanded === true));
        return row;
      }
      const expanded = this.#searching || (newest && (known.length > 0 ? at === 0 : at < OPEN_CONVERSATIONS));
      return {
        kind: 'conversation',
        id,
        day,
        client: of.client,
        clientName: of.clientName,
        conversation: of.conversation,
        face: conversationFace(of, expanded),
      };
    });
  }

  async #ofConversation(row: ConversationRow): Promise<Calls> {
    let calls = this.#calls.get(row);
    if (!calls) {
      calls = { rows: [], limit: PAGE, next: undefined };
      await this.#fill(row, calls);
      this.#calls.set(row, calls);
    }
    return calls;
  }

  /** Reads on until the limit is reached. */
  async #fill(row: ConversationRow, calls: Calls): Promise<void> {
    const until = this.#now() + FILL_MS;
    do {
      const page = await this.#page(this.#filterOf(row), calls.limit - calls.rows.length, calls.next ?? calls.rows.at(-1)?.seq);
      calls.rows.push(...page.calls.map((call) => callRow(row, call)));
      calls.next = page.next;
    } while (calls.next !== undefined && calls.rows.length < calls.limit && this.#now() < until);
  }

  /** A page that has a next one only if there is more, or may be. */
  async #page(filter: ActivityFilter, limit: number, before?: number): Promise<ActivityPage> {
    const page = await this.#source.calls(filter, { limit: limit + 1, before });
    if (page.calls.length <= limit) return page;
    const calls = page.calls.slice(0, limit);
    return { calls, next: calls.at(-1)?.seq };
  }

  #filterOf({ client, clientName, conversation, day }: ConversationRow): ActivityFilter {
    return { ...this.#filter, client, clientName, conversation, from: day.from, to: day.to };
  }

  async #refreshNewest(): Promise<void> {
    const newest = await this.#source.days(this.#filter, { limit: LIVE_DAYS });
    const rows = newest.map((day) => {
      const row = this.#days.find(({ from }) => from === day.from);
      if (row) row.face = keepSame(row.face, dayFace(day, this.#now(), row.face.expanded === true));
      return row ?? this.#dayRow(day, day === newest[0]);
    });
    const oldest = newest.at(-1)?.from ?? Number.POSITIVE_INFINITY;
    // A past day that came up, with an index that catches up for instance, may not be the only one.
    const past = rows.slice(1).some((row) => !this.#days.includes(row));
    this.#days = past ? rows : [...rows, ...this.#days.filter(({ from }) => from < oldest)];
    if (past) await this.#loadDays();
    for (const row of this.#days)
      row.face = keepSame(row.face, {
        ...row.face,
        label: dayFace({ from: row.from, calls: 0, denied: 0, findings: 0 }, this.#now(), false).label,
      });
    for (const day of rows) {
      const known = this.#conversations.get(day);
      if (!known) continue;
      const conversations = await this.#readDay(day, known);
      this.#conversations.set(day, conversations);
      for (const conversation of conversations) {
        const calls = this.#calls.get(conversation);
        if (calls) await this.#refreshCalls(conversation, calls);
      }
    }
  }

  /** Puts what is new on top; the window keeps its length. */
  async #refreshCalls(row: ConversationRow, calls: Calls): Promise<void> {
    const page = await this.#page(this.#filterOf(row), PAGE);
    const known = new Map(calls.rows.map((call) => [call.seq, call]));
    const top = page.calls.map((call) => updated(known.get(call.seq), row, call));
    const lowest = top.at(-1)?.seq ?? 0;
    const overlaps = calls.rows.length === 0 || page.next === undefined || calls.rows.some(({ seq }) => seq >= lowest);
    const rest = overlaps && page.next !== undefined ? calls.rows.filter(({ seq }) => seq < lowest) : [];
    const more = !overlaps || top.length + rest.length > calls.limit;
    calls.rows = [...top, ...rest].slice(0, calls.limit);
    if (more || (page.next !== undefined && rest.length === 0)) calls.next = calls.rows.at(-1)?.seq;
    else if (page.next === undefined) calls.next = undefined;
    for (const call of calls.rows.filter(({ open, seq }) => open && seq < lowest).slice(0, MAX_OPEN_CALLS)) {
      const entries = await this.#source.record(call.exchange);
      const [intent, outcome] = ['intent', 'outcome'].map((kind) => entries.find((entry) => entry.kind === kind));
      if (intent && outcome)
        updated(call, row, {
          seq: call.seq,
          at: intent.at,
          exchange: call.exchange,
          intent: intent.body as Activity['intent'],
          outcome: outcome.body as Activity['outcome'],
        });
    }
  }

  // ---- by text ----------------------------------------------------------------------------------------------

  /** Looks for a page more. What was looked through without a hit is not looked through again. */
  async #search(): Promise<void> {
    const until = this.#now() + SEARCH_MS;
    const wanted = this.#found.length + FOUND;
    do {
      const page = await this.#page(this.#filter, wanted - this.#found.length, this.#searchNext);
      this.#found.push(...page.calls);
      this.#searchNext = page.next;
    } while (this.#searchNext !== undefined && this.#found.length < wanted && this.#now() < until);
  }

  async #searchNewest(): Promise<void> {
    const { calls } = await this.#source.calls(this.#filter, { limit: FOUND });
    const lowest = calls.at(-1)?.seq;
    if (lowest === undefined) return;
    this.#found = [...calls, ...this.#found.filter(({ seq }) => seq < lowest)];
    this.#group();
  }

  /** Makes rows of what was found; those that were there stay the same objects. */
  #group(): void {
    const oldDays = new Map(this.#days.map((day) => [day.id, day]));
    const days: DayRow[] = [];
    const groups = new Map<DayRow, Map<string, Activity[]>>();
    for (const call of this.#found) {
      const date = new Date(call.at);
      const from = new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
      let day = days.find((d) => d.from === from);
      if (!day) {
        const to = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTime();
        const none = { calls: 0, denied: 0, findings: 0 };
        day = oldDays.get(`day ${from}`) ?? this.#dayRow({ from, to, ...none }, true);
        days.push(day);
        groups.set(day, new Map());
      }
      const key = JSON.stringify([call.intent.client, call.intent.claims['clientName'] ?? '', call.intent.claims['conversationId'] ?? '']);
      const group = groups.get(day)?.get(key);
      if (group) group.push(call);
      else groups.get(day)?.set(key, [call]);
    }
    const oldCalls = new Map([...this.#calls.values()].flatMap(({ rows }) => rows.map((row) => [row.seq, row])));
    this.#days = days;
    this.#calls.clear();
    const oldConversations = new Map(this.#conversations);
    this.#conversations.clear();
    for (const [day, byKey] of groups) {
      const all = [...byKey.values()].flat();
      day.face = keepSame(day.face, dayFace({ from: day.from, ...sums(all) }, this.#now(), true));
      const conversations = [...byKey].map(([key, calls]) => {
        const [client = '', clientName = '', conversation = ''] = JSON.parse(key) as string[];
        return { client, clientName, conversation, ...sums(calls), lastAt: calls[0]?.at ?? 0 };
      });
      const rows = this.#conversationRows(day, conversations, oldConversations.get(day) ?? []);
      this.#conversations.set(day, rows);
      for (const [at, calls] of [...byKey.values()].entries()) {
        const row = rows[at] as ConversationRow;
        this.#calls.set(row, {
          rows: calls.map((call) => updated(oldCalls.get(call.seq), row, call)),
          limit: calls.length,
          next: undefined,
        });
      }
    }
    this.#moreDays = this.#searchNext !== undefined;
  }

  // ---- what is seen -----------------------------------------------------------------------------------------

  #more(parent: ConversationRow | undefined): MoreRow {
    const label = parent === undefined && this.#searching ? 'Search further back' : 'Load more';
    const oldest = this.#found.at(-1);
    const description = this.#searching && oldest ? `from ${new Date(oldest.at).toLocaleString()}` : '';
    return { kind: 'more', id: `more ${parent?.id ?? ''}`, parent, face: { label, description, icon: 'chevron-down', spoken: label } };
  }
}
