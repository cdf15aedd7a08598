import type { Access } from '../authorization/access.ts';

/**
 * What the lists of tools hang on that agents hold, by server: agents are told to list anew only where that changed. A change at one server
 * must not make the others list: an editor whose server fails at that moment takes it for one without tools from then on.
 */
export class ListedAccess {
  readonly #access: Pick<Access, 'standing'>;
  readonly #known = new Map<string, string | undefined>();

  constructor(access: Pick<Access, 'standing'>) {
    this.#access = access;
  }

  /** An agent comes to a server; from now on it may hold a list. Costs nothing from the second time on. */
  note(server: string): void {
    if (!this.#known.has(server)) this.#known.set(server, this.#standing(server));
  }

  /** An agent asked for a list and got none: it asks again with the next change of anything. */
  failed(server: string): void {
    this.#known.set(server, undefined);
  }

  /** The servers that agents came to and for which something else holds than when this was asked last. */
  changed(): string[] {
    return [...this.#known].flatMap(([server, before]) => {
      const now = this.#standing(server);
      this.#known.set(server, now);
      return now === undefined || now !== before ? [server] : [];
    });
  }

  /** `undefined` if it can't be read: then nobody knows, and agents list anew. */
  #standing(server: string): string | undefined {
    try {
      return this.#access.standing(server);
    } catch {
      return undefined;
    }
  }
}
