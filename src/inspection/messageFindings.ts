import type { Finding } from '../mcp/finding.ts';
import type { Inspected } from './inspector.ts';
import { pointerOf } from './scalars.ts';

/** A finding but for where it was and what was done. */
export type Described = Omit<Finding, 'direction' | 'action' | 'path'>;

/** What says that a part of a message stayed unread. */
export const NOT_COMPLETE: Described = {
  rule: 'not-fully-scanned',
  severity: 'low',
  subject: 'a message too large or too deeply encoded to be read in full',
  form: 'over the budget',
  tier: 'notice',
};

/** Findings of one message: one for each thing and place. */
export class Findings {
  readonly #direction: Finding['direction'];
  readonly #byKey = new Map<string, Finding>();

  constructor(direction: Finding['direction']) {
    this.#direction = direction;
  }

  add(what: Described, action: Finding['action'], path?: readonly (string | number)[]): void {
    const pointer = path && path.length > 0 ? (path[0] === 'headers' ? path.join('/') : pointerOf(path)) : undefined;
    const key = JSON.stringify([what.rule, what.subject, what.form, what.digest, pointer]);
    if (this.#byKey.has(key) || this.#byKey.size >= MAX_FINDINGS_PER_MESSAGE) return;
    this.#byKey.set(key, { ...what, direction: this.#direction, action, ...(pointer === undefined ? {} : { path: pointer }) });
  }

  list(): readonly Finding[] {
    return [...this.#byKey.values()];
  }
}

/** More in one message are redacted all the same, and not told one by one. */
const MAX_FINDINGS_PER_MESSAGE = 200;

/** What became of a message that was looked at a second time. */
export function both(first: Inspected, second: Inspected): Inspected {
  const isNew = (found: Finding) =>
    !first.findings.some((f) => f.rule === found.rule && f.subject === found.subject && f.path === found.path && f.digest === found.digest);
  return { ...second, findings: [...first.findings, ...second.findings.filter(isNew)] };
}
