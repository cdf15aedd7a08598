import type { Call } from '../decide.ts';
import type { ConditionTools } from '../conditions.ts';
import type { Caller } from '../grant.ts';

/** What a policy above grants makes of a call that the grants let through: less, or nothing. It has no way to say “allow”. */
export interface Narrowing {
  readonly effect: 'ask' | 'deny';
  /** Which rule, for the record: a name or number. */
  readonly rule: string;
  /** A sentence for the user and the agent. */
  readonly reason: string;
}

/** Something wrong with a policy, for the editor to show. Positions count from 0. */
export interface PolicyProblem {
  /** Path of the file, or name of the setting. */
  readonly source: string;
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
  readonly message: string;
}

/** What a layer is asked about. */
export interface PolicyQuestion {
  readonly principal: Caller;
  readonly call: Call;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Name of the task under which the call would run. */
  readonly task: string | undefined;
  readonly tools: ConditionTools;
  /** The question is what any call of this kind could come to: what hangs on arguments is left out. Nothing is let through on this. */
  readonly prospect?: boolean;
}

/** One policy above grants. Pure: the same question has the same answer. */
export interface PolicyLayer {
  /** Where it comes from, in words: `The organisation’s policy`. */
  readonly name: string;
  /** SHA-256 of its rules, hex, or anything else that changes with them: for the record. */
  readonly digest?: string;
  /** Only recorded, not enforced. */
  readonly shadow?: boolean;
  readonly problems: readonly PolicyProblem[];
  /** True if its conditions have regular expressions, for which the engine must be loaded. */
  readonly needsExpressions?: boolean;
  /** `undefined`: nothing to say against it. A throw denies. */
  narrow(question: PolicyQuestion): Narrowing | undefined;
}

/** A policy that can't be read denies everything, and says where it is wrong. */
export function brokenLayer(name: string, problems: readonly PolicyProblem[], shadow = false): PolicyLayer {
  const [first] = problems;
  const where = first ? ` ${first.source}, line ${first.line + 1}: ${first.message}` : '';
  return {
    name,
    problems,
    ...(shadow ? { shadow } : {}),
    narrow: () => ({
      effect: 'deny',
      rule: 'invalid',
      reason: `${name} can’t be applied, so nothing is let through until it is corrected.${where}`,
    }),
  };
}

/** Line and column of an offset in characters, both from 0. */
export function positionAt(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, Math.max(0, offset));
  const line = before.split('\n').length - 1;
  return { line, column: before.length - (before.lastIndexOf('\n') + 1) };
}
