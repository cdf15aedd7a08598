import type { Secret } from '../../credentials/secret.ts';
import { SourceSpec } from '../../credentials/sourceSpec.ts';
import { askText, type StepPlace, type StepResult } from '../steps.ts';

/** A source as the dialog gathers it: what is stored of it, and what it needs itself, such as the token for a Vault. */
export interface SourceDraft {
  readonly spec: SourceSpec;
  readonly key?: Secret;
}

/** What a dialog gathers, step by step; `skip`: there is nothing to ask. */
export type Ask = () => Promise<StepResult<unknown> | typeof SKIP>;

/** A step that the answers so far don’t need: the dialog goes on in the direction in which it went. */
export const SKIP = { kind: 'skip' } as const;

/** Asks one thing after the other; back goes to the one before. */
export async function inOrder(...asks: readonly Ask[]): Promise<'done' | 'back' | 'cancel'> {
  let step = 1;
  for (let at = 0; at < asks.length;) {
    const result = await (asks[at] as Ask)();
    if (result.kind === 'cancel') return 'cancel';
    if (result.kind !== 'skip') step = result.kind === 'back' ? -1 : 1;
    at += step;
    if (at < 0) return 'back';
  }
  return 'done';
}

/** A line of text that is kept where it was typed. */
export function line(
  place: StepPlace,
  into: Record<string, string>,
  name: string,
  prompt: string,
  placeholder: string,
  refuse: (value: string) => string | undefined,
  password = false,
): Ask {
  return async () => {
    const result = await askText(place, {
      prompt,
      placeholder,
      value: password ? '' : (into[name] ?? ''),
      password,
      validate: (value) => (password && value === '' && into[name] !== undefined ? undefined : refuse(value.trim())),
    });
    if (result.kind === 'value' && !(password && result.value === '')) into[name] = result.value.trim();
    return result;
  };
}

/** What is wrong with a part of a source, in words. */
export function issue(spec: unknown, ...path: readonly string[]): string | undefined {
  const parsed = SourceSpec.safeParse(spec);
  if (parsed.success) return undefined;
  const found = parsed.error.issues.find((i) => path.every((part, at) => i.path[at] === part));
  return found && (found.message || 'That can’t be used.');
}
