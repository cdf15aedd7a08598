import { randomBytes } from 'node:crypto';
import * as z from 'zod';
import type { Clock } from '../common/clock.ts';
import type { Disposable } from '../common/disposable.ts';
import { ID_PATTERN, newId } from '../common/identifiers.ts';
import type { Edit, Span } from '../mcp/json.ts';
import { stringsWithin } from '../mcp/jsonStrings.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';
import { Secret } from './secret.ts';

/** How long a placeholder counts where no task runs, milliseconds. */
export const LOOSE_MS = 15 * 60_000;
/** Placeholders that are remembered at a time; the oldest go first. */
export const MAX_PLACEHOLDERS = 1_000;

const ToolOf = z.strictObject({ server: z.string().regex(ID_PATTERN), tool: z.string().min(1).max(200) });

/** That a secret which one tool gives may be handed to another, without the model ever seeing it. Plain data, stored with a MAC. */
export const Handover = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(ID_PATTERN),
  from: ToolOf,
  to: ToolOf,
  /** What the server of `to` was bound to when the user allowed it (`bindingOf` of server.ts): moved, it gets nothing. */
  binding: z.string().max(500),
  /** This credential of the vault; absent: any secret that is found in the result and is none of the vault. */
  credential: z.string().optional(),
  createdAt: z.number().int(),
});
export type Handover = z.infer<typeof Handover>;

/** A secret that was found in a result. */
export interface FoundSecret {
  readonly value: string;
  readonly server: string;
  readonly tool: string;
  /** Who gets the result (`principalKey`): nobody else may use the placeholder. */
  readonly owner: string;
  /** Id of the credential, if it is one of the vault. */
  readonly credential: string | undefined;
  /** The task that runs, with which the placeholder ends. */
  readonly task: string | undefined;
}

/** Where arguments go. */
export interface Destination {
  readonly server: string;
  readonly tool: string;
  readonly owner: string;
  readonly binding: string;
}

interface Given {
  readonly secret: Secret;
  readonly found: Omit<FoundSecret, 'value'>;
  readonly endsAt: number;
}

const MARK = /⟦culvert:([0-9a-f]{8})⟧/g;
const MARK_BYTES = Buffer.from('⟦culvert:', 'utf8');
const ESCAPED_MARK = /\\u27e6culvert:/i;

/**
 * Secrets on their way from one tool to another: the model sees `⟦culvert:1a2b3c4d⟧`, which becomes the value again in an argument of the
 * tool that the user named, for the agent that got it, while the task runs. Values are in the memory of this window alone.
 */
export class Handovers implements Disposable {
  readonly #rules: SignedCollection<Handover>;
  readonly #clock: Clock;
  readonly #taskRuns: (task: string) => boolean;
  readonly #recognise: (id: string, revision: string, secret: Secret) => void;
  readonly #given = new Map<string, Given>();

  /** `recognise` makes the inspector know a value, so that it is taken out wherever else it comes up. */
  constructor(
    db: Database,
    key: MacKey,
    generations: Generations,
    clock: Clock,
    options: { taskRuns(task: string): boolean; recognise(id: string, revision: string, secret: Secret): void },
  ) {
    this.#rules = new SignedCollection(db, 'handover', Handover, key, generations);
    this.#clock = clock;
    this.#taskRuns = (task) => options.taskRuns(task);
    this.#recognise = (id, revision, secret) => options.recognise(id, revision, secret);
  }

  list(): readonly Handover[] {
    return [...this.#rules.rows().values()].sort((a, b) => a.createdAt - b.createdAt);
  }

  /** Allows a pair of tools. Throws StoreError. */
  allow(handover: Omit<Handover, 'version' | 'id' | 'createdAt'>): Handover {
    const row: Handover = { version: 1, id: newId('hand'), createdAt: this.#clock.now(), ...handover };
    this.#rules.write([row]);
    return row;
  }

  /** Takes a permission back; placeholders that were given for it are good for nothing from now on. Throws StoreError. */
  forget(id: string): void {
    this.#rules.write([], [id]);
  }

  /** Whether results of a tool may hold something that is handed on: asked for every result. */
  concerns(server: string, tool: string | undefined): boolean {
    const rows = this.#rules.rows(50);
    if (rows.size === 0) return false;
    for (const { from } of rows.values()) if (from.server === server && from.tool === tool) return true;
    return false;
  }

  /** What stands for a secret in a result; `undefined` if nobody may hand it on. The same for the same value as long as it counts. */
  give({ value, ...found }: FoundSecret): string | undefined {
    const allowed = this.list().some(
      ({ from, credential }) => from.server === found.server && from.tool === found.tool && credential === found.credential,
    );
    if (!allowed) return undefined;
    for (const [id, given] of this.#given)
      if (given.found.owner === found.owner && given.secret.expose() === value && this.#counts(given)) return markOf(id);
    const id = randomBytes(4).toString('hex');
    const secret = new Secret(value);
    this.#recognise(`handover-${id}`, '1', secret);
    this.#given.set(id, { secret, found, endsAt: this.#clock.now() + (found.task === undefined ? LOOSE_MS : Number.POSITIVE_INFINITY) });
    const [oldest] = this.#given.keys();
    if (this.#given.size > MAX_PLACEHOLDERS && oldest !== undefined) this.#given.delete(oldest);
    return markOf(id);
  }

  /** Whether a message may hold a placeholder at all. */
  mayHold(bytes: Buffer): boolean {
    return this.#given.size > 0 && (bytes.includes(MARK_BYTES) || (bytes.includes('\\u27') && ESCAPED_MARK.test(bytes.toString('latin1'))));
  }

  /** Puts values back into arguments. A text says why the call must not go out: a placeholder stands where it may not, or is over. */
  putBack(bytes: Buffer, span: Span, to: Destination): readonly Edit[] | string {
    const edits: Edit[] = [];
    let wrong: string | undefined;
    for (const { span: at, text } of stringsWithin(bytes, span)) {
      const filled = text.replace(MARK, (mark, id: string) => {
        const given = this.#given.get(id);
        if (given?.found.owner !== to.owner || !this.#counts(given)) {
          wrong ??= `The placeholder ${mark} is over, or was not given to this agent. Call the tool that gives the secret again.`;
          return mark;
        }
        const { found } = given;
        const may = this.list().some(
          (rule) =>
            rule.from.server === found.server &&
            rule.from.tool === found.tool &&
            rule.to.server === to.server &&
            rule.to.tool === to.tool &&
            rule.binding === to.binding &&
            rule.credential === found.credential,
        );
        if (!may) {
          wrong ??= `The placeholder ${mark} stands for a secret that the user did not allow for ${to.tool}. It stays where it is; leave it out.`;
          return mark;
        }
        return given.secret.expose();
      });
      if (filled !== text) edits.push({ span: at, replacement: JSON.stringify(filled) });
    }
    return wrong ?? edits;
  }

  refresh(): void {
    this.#rules.refresh();
  }

  tampering(): readonly Tampering[] {
    return this.#rules.tampering();
  }

  forgetTampering(): void {
    this.#rules.forgetTampering();
  }

  dispose(): void {
    this.#given.clear();
  }

  #counts({ found, endsAt }: Given): boolean {
    return this.#clock.now() < endsAt && (found.task === undefined || this.#taskRuns(found.task));
  }
}

function markOf(id: string): string {
  return `⟦culvert:${id}⟧`;
}
