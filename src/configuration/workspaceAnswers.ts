import { hash } from 'node:crypto';
import * as z from 'zod';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';

/** What the user said about the file of one folder; stored with a MAC. */
const WorkspaceAnswer = z.strictObject({
  /** Of the folder's path. */
  id: z.string(),
  version: z.literal(1),
  /** Of what the file wants; another wish is asked about anew. */
  digest: z.string(),
  trusted: z.boolean(),
  /** Milliseconds since the epoch. */
  at: z.number(),
});
type WorkspaceAnswer = z.infer<typeof WorkspaceAnswer>;

/** Answers that are kept; beyond, the oldest go. */
export const MAX_ANSWERS = 200;

/**
 * The user's answers about what `.vscode/culvert.json` of a folder wants. In the signed database, not in the editor's state: there an
 * answer stands as soon as it was given, for every window, and nothing that can write files can give one.
 */
export class WorkspaceAnswers {
  readonly #answers: SignedCollection<WorkspaceAnswer>;

  constructor(db: Database, key: MacKey, generations: Generations) {
    this.#answers = new SignedCollection(db, 'workspace-answer', WorkspaceAnswer, key, generations);
  }

  /** Whether the user wanted just this of that folder; `undefined` if never asked. */
  to(folder: string, digest: string): boolean | undefined {
    const answer = this.#answers.rows().get(idOf(folder));
    return answer?.digest === digest ? answer.trusted : undefined;
  }

  /** Keeps an answer in place of the folder's last one. `at`: milliseconds since the epoch. */
  remember(folder: string, { digest, trusted, at }: { readonly digest: string; readonly trusted: boolean; readonly at: number }): void {
    const id = idOf(folder);
    const others = [...this.#answers.rows().values()].filter((answer) => answer.id !== id).sort((a, b) => b.at - a.at);
    this.#answers.write(
      [{ version: 1, id, digest, trusted, at }],
      others.slice(MAX_ANSWERS - 1).map((answer) => answer.id),
    );
  }

  /** The folder was never asked about. */
  forget(folder: string): void {
    this.#answers.write([], [idOf(folder)]);
  }

  tampering(): readonly Tampering[] {
    return this.#answers.tampering();
  }

  forgetTampering(): void {
    this.#answers.forgetTampering();
  }
}

function idOf(folder: string): string {
  return hash('sha256', folder);
}
