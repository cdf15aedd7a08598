import * as z from 'zod';
import { ID_PATTERN } from '../../common/identifiers.ts';
import type { Database } from '../../store/database.ts';
import type { Generations } from '../../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../../store/signedCollection.ts';
import type { CredentialRegistry } from '../credentialRegistry.ts';

/** Which sign-in a workspace uses for a server, by the user’s choice; stored with a MAC. */
const AccountChoice = z.strictObject({
  /** Server and workspace. */
  id: z.string(),
  version: z.literal(1),
  credential: z.string().regex(ID_PATTERN),
});
type AccountChoice = z.infer<typeof AccountChoice>;

/** How old what is known may be on the way of a call, milliseconds. */
const RECENT_MS = 50;

/** What of a server decides which credentials it is used with. */
export interface AccountServer {
  readonly id: string;
  readonly credentials: readonly string[];
}

/** Several accounts per server: the one in the server’s definition, and others that a workspace prefers. */
export class AccountChoices {
  readonly #collection: SignedCollection<AccountChoice>;
  readonly #credentials: CredentialRegistry;

  constructor(db: Database, key: MacKey, generations: Generations, credentials: CredentialRegistry) {
    this.#collection = new SignedCollection(db, 'account', AccountChoice, key, generations);
    this.#credentials = credentials;
  }

  /** The credentials of a server as a workspace uses it. A choice counts only for a sign-in that is bound to the same place. */
  for(server: AccountServer, workspace: string | undefined): readonly string[] {
    if (workspace === undefined) return server.credentials;
    const chosen = this.#collection.rows(RECENT_MS).get(idOf(server.id, workspace))?.credential;
    if (chosen === undefined || server.credentials.includes(chosen)) return server.credentials;
    const other = this.#credentials.recent(chosen);
    const replaced = server.credentials.findIndex((id) => {
      const own = this.#credentials.recent(id);
      return (
        own?.source?.kind === 'oauth' && other?.source?.kind === 'oauth' && own.origins.every((origin) => other.origins.includes(origin))
      );
    });
    return replaced < 0 ? server.credentials : server.credentials.with(replaced, chosen);
  }

  /** A server as a workspace uses it; the same object where nothing was chosen. */
  on<S extends AccountServer>(server: S, workspace: string | undefined): S {
    const credentials = this.for(server, workspace);
    return credentials === server.credentials ? server : { ...server, credentials };
  }

  /** The sign-in that is used in a workspace, if there is one. */
  chosen(server: AccountServer, workspace: string | undefined): string | undefined {
    return this.for(server, workspace).find((id) => this.#credentials.recent(id)?.source?.kind === 'oauth');
  }

  /** Lets a workspace use a sign-in; `undefined`: the server’s own again. */
  choose(server: string, workspace: string, credential: string | undefined): void {
    const id = idOf(server, workspace);
    if (credential === undefined) this.#collection.write([], [id]);
    else this.#collection.write([{ version: 1, id, credential }]);
  }

  refresh(): void {
    this.#collection.refresh();
  }

  tampering(): readonly Tampering[] {
    return this.#collection.tampering();
  }

  forgetTampering(): void {
    this.#collection.forgetTampering();
  }
}

function idOf(server: string, workspace: string): string {
  return `${server} ${workspace}`;
}
