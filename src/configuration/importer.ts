import { messageOf } from '../common/errors.ts';
import { isProblem } from './document.ts';
import { fileName, openFile, refuseWrite, writeFile, writeTextFile, type ConfigurationFiles, type FileUndo } from './files.ts';
import type { ImportPlan, RegisterStep, SealStep } from './plan.ts';

/** An edit as it is shown before it is made. */
export interface Review {
  /** As the configuration's place is known; the edit goes to `target`. */
  readonly path: string;
  readonly target: string;
  /** There is no such file yet. */
  readonly isNew: boolean;
  /** The whole text afterwards. */
  readonly text: string;
  /** Sentences that the user should read with it. */
  readonly notices: readonly string[];
  /** Which of how many, from 1. */
  readonly index: number;
  readonly of: number;
}

/** What an import does its steps with. Each may throw; what was done before is then taken back. */
export interface ImportPorts {
  readonly files: ConfigurationFiles;
  /** Seals a secret, asking for the value if the step has none. Returns the credential's id; `undefined` if the user declined. */
  seal(step: SealStep): Promise<string | undefined>;
  unseal(credentialId: string): Promise<void>;
  /** Registers a server under the id of the step. */
  register(step: RegisterStep, credentialIds: readonly string[]): Promise<void>;
  unregister(serverId: string): Promise<void>;
  /** Shows the edit and asks; false takes the whole import back. Without it every edit is made. */
  review?(edit: Review): Promise<boolean>;
}

/** What gives back the state before an import. In memory only: it holds the old files. */
export interface ImportUndo {
  readonly credentials: readonly string[];
  readonly servers: readonly string[];
  readonly files: readonly FileUndo[];
}

/** How an import ended. */
export type ImportOutcome =
  | { readonly kind: 'done'; readonly undo: ImportUndo }
  /** The user said no; nothing is left. */
  | { readonly kind: 'declined'; readonly leftBehind: readonly string[] }
  /** A step failed; `leftBehind` says in sentences what could not be taken back (usually nothing). */
  | { readonly kind: 'failed'; readonly reason: string; readonly leftBehind: readonly string[] };

class Declined extends Error {}

/** Carries out a plan. Whatever step fails, every file, server and secret is as it was before. */
export async function runImport(plan: ImportPlan, ports: ImportPorts): Promise<ImportOutcome> {
  const back: { readonly what: string; readonly undo: () => Promise<void> }[] = [];
  try {
    for (const { file } of plan.writes) {
      const now = await openFile(ports.files, file.location);
      if (isProblem(now)) throw new Error(now.message);
      const refusal = refuseWrite(now);
      if (refusal) throw new Error(refusal.message);
      if (now.digest !== file.digest || now.facts.target !== file.facts.target)
        throw new Error(
          `${fileName(file.location.path)} was changed by something else in the meantime. Nothing was written; import again.`,
        );
    }
    const credentials = new Map<string, string>();
    for (const step of plan.seals) {
      const id = await ports.seal(step);
      if (id === undefined) throw new Declined();
      credentials.set(step.id, id);
      back.push({ what: `the sealed credential ${step.name}`, undo: () => ports.unseal(id) });
    }
    for (const step of plan.registers) {
      const ids = step.seals.map((seal) => {
        const id = credentials.get(seal);
        if (id === undefined) throw new Error('The plan of this import is not complete. Import again.');
        return id;
      });
      // A registry that fails halfway may have written; taking back what is not there does no harm.
      back.push({ what: `the server ${step.label}`, undo: () => ports.unregister(step.serverId) });
      await ports.register(step, ids);
    }
    const texts = plan.texts ?? [];
    const of = plan.writes.length + texts.length;
    const reviews = [
      ...plan.writes.map(({ file, edit, notices }) => ({
        path: file.location.path,
        target: file.facts.target,
        isNew: false,
        text: edit.text,
        notices,
      })),
      ...texts.map(({ file, text, notices }) => ({
        path: file.path,
        target: file.target,
        isNew: file.digest === undefined,
        text,
        notices,
      })),
    ];
    for (const [i, edit] of reviews.entries())
      if (ports.review && !(await ports.review({ ...edit, index: i + 1, of }))) throw new Declined();
    const files: FileUndo[] = [];
    for (const step of plan.writes) {
      const written = await writeFile(ports.files, step.file, step.edit.text);
      if (isProblem(written)) throw new Error(written.message);
      files.push(written);
      back.push({ what: `the edit of ${fileName(written.path)}`, undo: () => restored(written, ports.files) });
    }
    for (const { file, text } of texts) {
      const written = await writeTextFile(ports.files, file, text);
      if (isProblem(written)) throw new Error(written.message);
      files.push(written);
      back.push({ what: `the edit of ${fileName(written.path)}`, undo: () => restored(written, ports.files) });
    }
    const undo = { credentials: [...credentials.values()], servers: plan.registers.map(({ serverId }) => serverId), files };
    return { kind: 'done', undo };
  } catch (error) {
    const leftBehind: string[] = [];
    for (const { what, undo } of back.reverse()) {
      try {
        await undo();
      } catch (failure) {
        leftBehind.push(`Culvert could not take back ${what}: ${messageOf(failure)}`);
      }
    }
    return error instanceof Declined ? { kind: 'declined', leftBehind } : { kind: 'failed', reason: messageOf(error), leftBehind };
  }
}

async function restored(undo: FileUndo, files: ConfigurationFiles): Promise<void> {
  const problem = await undo.restore(files);
  if (problem) throw new Error(problem.message);
}

/**
 * Takes an import back: files byte for byte, then servers, then secrets. If a file was changed since, nothing is done and the sentence
 * says which. Returns what went wrong, as sentences; empty if all is as it was.
 */
export async function undoImport(
  undo: ImportUndo,
  ports: Pick<ImportPorts, 'files' | 'unregister' | 'unseal'>,
): Promise<readonly string[]> {
  for (const file of undo.files)
    if (!(await file.isIntact(ports.files)))
      return [`${fileName(file.path)} was changed after the import, so nothing was undone. Undo that change first.`];
  const problems: string[] = [];
  for (const file of undo.files.toReversed()) {
    const problem = await file.restore(ports.files);
    if (problem) problems.push(problem.message);
  }
  // A file that still starts the bridge needs its server, and the server its secrets.
  if (problems.length > 0) return problems;
  for (const [ids, take] of [
    [undo.servers, ports.unregister.bind(ports)],
    [undo.credentials, ports.unseal.bind(ports)],
  ] as const)
    for (const id of ids.toReversed()) {
      try {
        await take(id);
      } catch (error) {
        problems.push(messageOf(error));
      }
    }
  return problems;
}
