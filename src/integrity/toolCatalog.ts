import { hash } from 'node:crypto';
import * as z from 'zod';
import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';

/** Longest description that is kept for showing, characters. */
const MAX_DESCRIPTION_CHARACTERS = 400;

/** A tool as the server describes it. */
export const KnownTool = z.strictObject({
  /** Exact name. */
  name: z.string(),
  title: z.string().optional(),
  description: z.string().optional(),
  /** Whether it said that it only reads when it was first seen, and ever since: a later claim can narrow this, never widen it. */
  reads: z.boolean(),
  /** SHA-256 of the definition with sorted keys, hex; empty before the first listing. */
  digest: z.string(),
});
export type KnownTool = z.infer<typeof KnownTool>;

const ServerTools = z.strictObject({ id: z.string(), version: z.literal(1), tools: z.array(KnownTool), seenAt: z.number().int() });

/** One tool of a `tools/list` result: its name and the bytes of its definition. */
export interface ListedTool {
  readonly name: string;
  readonly definition: string;
}

/** Remembers the tools of each server, pins their definitions, and notices when a definition changes. */
export class ToolCatalog implements Disposable {
  readonly #collection: SignedCollection<z.infer<typeof ServerTools>>;
  readonly #clock: Clock;
  readonly #changed = new Emitter<string>();
  readonly #subscription: Disposable;

  /** Fires with the server's id. */
  readonly onDidChange = this.#changed.event;

  constructor(db: Database, key: MacKey, generations: Generations, clock: Clock) {
    this.#collection = new SignedCollection(db, 'server-tools', ServerTools, key, generations);
    this.#clock = clock;
    this.#subscription = this.#collection.onDidChange(() => this.#changed.fire('*'));
  }

  tools(server: string): readonly KnownTool[] {
    return this.#collection.rows().get(server)?.tools ?? [];
  }

  /** Whether the tool said that it only reads when it was first seen. */
  reads(server: string, tool: string): boolean {
    return this.tools(server).find((t) => t.name === tool)?.reads ?? false;
  }

  /**
   * Takes in a page of a `tools/list` result. Returns the names of tools whose definition is not the
   * one that was pinned. `pin: false` only notes what there is (a trial went through a client library, which rewrites definitions);
   * the first listing through the tunnel pins. Tools that are no longer listed are kept, so that a server can't unpin a tool by hiding it for a while.
   */
  observe(server: string, page: readonly ListedTool[], options: { readonly pin: boolean } = { pin: true }): string[] {
    const known = new Map(this.tools(server).map((t) => [t.name, t]));
    const drifted: string[] = [];
    let changed = false;
    for (const { name, definition } of page) {
      const digest = options.pin ? hash('sha256', canonical(JSON.parse(definition))) : NOT_PINNED;
      const old = known.get(name);
      if (old && (old.digest === digest || !options.pin)) continue;
      if (old && old.digest !== NOT_PINNED) drifted.push(name);
      changed = true;
      const seen = describe(name, definition, digest);
      known.set(name, old ? { ...seen, reads: old.reads && seen.reads } : seen);
    }
    if (changed) this.#collection.write([{ id: server, version: 1, tools: [...known.values()], seenAt: this.#clock.now() }]);
    return drifted;
  }

  forget(server: string): void {
    this.#collection.write([], [server]);
  }

  refresh(): void {
    this.#collection.refresh();
  }

  tampering(): readonly Tampering[] {
    return this.#collection.tampering();
  }

  /** Forgets rows that something else changed; they count as absent already. */
  forgetTampering(): void {
    this.#collection.forgetTampering();
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#changed.dispose();
  }
}

/** Stands for a digest where no listing was seen yet. */
const NOT_PINNED = '';

/** JSON with sorted keys: some servers send the members of an object in another order each time. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(',')}}`;
}

const Definition = z.object({
  title: z.string().optional().catch(undefined),
  description: z.string().optional().catch(undefined),
  annotations: z
    .object({ title: z.string().optional().catch(undefined), readOnlyHint: z.boolean().optional().catch(undefined) })
    .optional()
    .catch(undefined),
});

function describe(name: string, definition: string, digest: string): KnownTool {
  const parsed = Definition.safeParse(JSON.parse(definition));
  const { title, description, annotations } = parsed.success ? parsed.data : {};
  const shownTitle = title ?? annotations?.title;
  return {
    name,
    ...(shownTitle === undefined ? {} : { title: shownTitle.slice(0, 100) }),
    ...(description === undefined ? {} : { description: description.slice(0, MAX_DESCRIPTION_CHARACTERS) }),
    reads: annotations?.readOnlyHint === true,
    digest,
  };
}
