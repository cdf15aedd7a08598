import type { MethodClass } from '../mcp/methods.ts';
import { compileConditions, type Check } from './conditions.ts';
import { compileGlob, type Matcher } from './glob.ts';
import { isCounted, isScoped, specificity, type Grant, type Target } from './grant.ts';

/** A grant that is ready to be tried on a call. */
export interface Compiled {
  readonly grant: Grant;
  readonly specificity: number;
  /** True if conditions or the scope narrow it. */
  readonly particular: boolean;
  /** Present if the grant has conditions; compiled at the first use. */
  readonly check: (() => Check) | undefined;
  readonly like: readonly Matcher[] | undefined;
}

/** Grants of the same reach by effect, the one that explains best first. */
export interface Shelf {
  readonly deny: readonly Compiled[];
  readonly ask: readonly Compiled[];
  readonly allow: readonly Compiled[];
}

interface OpenShelf {
  readonly deny: Compiled[];
  readonly ask: Compiled[];
  readonly allow: Compiled[];
}

const indexes = new WeakMap<object, GrantIndex>();

/** Grants by server and by what they name, so that a call is held only against those that can concern it. Never changes. */
export class GrantIndex {
  readonly #servers = new Map<string, ServerIndex>();

  constructor(grants: Iterable<Grant>) {
    for (const grant of grants) {
      let server = this.#servers.get(grant.server);
      if (!server) this.#servers.set(grant.server, (server = new ServerIndex()));
      server.add(grant);
    }
    for (const server of this.#servers.values()) server.sort();
  }

  /** The index of a list of grants, made once for each list. The list must not be changed afterwards. */
  static of(grants: Iterable<Grant>): GrantIndex {
    if (!Array.isArray(grants)) return new GrantIndex(grants);
    let index = indexes.get(grants);
    if (!index) indexes.set(grants, (index = new GrantIndex(grants)));
    return index;
  }

  /** What can concern a call, narrowest first. */
  shelves(server: string, kind: MethodClass, name: string | undefined, reads: boolean): readonly Shelf[] {
    return this.#servers.get(server)?.shelves(kind, name, reads) ?? [];
  }
}

class ServerIndex {
  readonly #tools = new Map<string, OpenShelf>();
  readonly #methods = new Map<string, OpenShelf>();
  readonly #kinds = new Map<Target['kind'], OpenShelf>();

  add(grant: Grant): void {
    const compiled = compile(grant);
    const { target } = grant;
    if (target.kind === 'tools' || target.kind === 'methods') {
      const shelves = target.kind === 'tools' ? this.#tools : this.#methods;
      for (const name of new Set(target.names)) put(shelves, name, compiled);
    } else put(this.#kinds, target.kind, compiled);
  }

  sort(): void {
    for (const shelves of [this.#tools, this.#methods, this.#kinds])
      for (const shelf of shelves.values()) for (const list of [shelf.deny, shelf.ask, shelf.allow]) list.sort(order);
  }

  shelves(kind: MethodClass, name: string | undefined, reads: boolean): readonly Shelf[] {
    const out: Shelf[] = [];
    const push = (shelf: Shelf | undefined) => {
      if (shelf) out.push(shelf);
    };
    switch (kind) {
      case 'tool':
        if (name === undefined) return out;
        push(this.#tools.get(name));
        push(this.#kinds.get('tools-like'));
        if (reads) push(this.#kinds.get('reading-tools'));
        push(this.#kinds.get('all-tools'));
        return out;
      case 'resource':
        push(this.#kinds.get('resources'));
        return out;
      case 'prompt':
        push(this.#kinds.get('prompts'));
        return out;
      case 'completion':
        push(this.#kinds.get('completion'));
        return out;
      case 'unknown':
        if (name !== undefined) push(this.#methods.get(name));
        return out;
      case 'session':
        return out;
    }
  }
}

function put<K>(shelves: Map<K, OpenShelf>, key: K, compiled: Compiled): void {
  let shelf = shelves.get(key);
  if (!shelf) shelves.set(key, (shelf = { deny: [], ask: [], allow: [] }));
  shelf[compiled.grant.effect].push(compiled);
}

function compile(grant: Grant): Compiled {
  const { conditions, target } = grant;
  let check: Check | undefined;
  return {
    grant,
    specificity: specificity(target),
    particular: conditions !== undefined || isScoped(grant),
    check: conditions && (() => (check ??= compileConditions(conditions))),
    like: target.kind === 'tools-like' ? target.patterns.map((p) => compileGlob(p)) : undefined,
  };
}

/** What costs no use comes first, then what says most, then what lasts longest; ids settle the rest, so that the order given never matters. */
function order(a: Compiled, b: Compiled): number {
  const counted = Number(isCounted(a.grant)) - Number(isCounted(b.grant));
  if (counted !== 0) return counted;
  const conditions = (b.grant.conditions?.length ?? 0) - (a.grant.conditions?.length ?? 0);
  if (conditions !== 0) return conditions;
  const [endA, endB] = [a.grant.expiresAt ?? Number.MAX_VALUE, b.grant.expiresAt ?? Number.MAX_VALUE];
  if (endA !== endB) return endB - endA;
  return a.grant.id < b.grant.id ? -1 : a.grant.id > b.grant.id ? 1 : 0;
}
