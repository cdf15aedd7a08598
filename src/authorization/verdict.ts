/**
 * Whether something holds of a call: surely, surely not, or `unclear` because programs differ in how they read the value. What allows
 * needs `yes`; what denies or asks is content with `unclear`.
 */
export type Verdict = 'yes' | 'no' | 'unclear';

/** Holds if every part holds. Stops at the first that surely does not. */
export function all(parts: Iterable<Verdict>): Verdict {
  let verdict: Verdict = 'yes';
  for (const part of parts) {
    if (part === 'no') return 'no';
    if (part === 'unclear') verdict = 'unclear';
  }
  return verdict;
}

/** Holds if one part holds. */
export function any(parts: Iterable<Verdict>): Verdict {
  let verdict: Verdict = 'no';
  for (const part of parts) {
    if (part === 'yes') return 'yes';
    if (part === 'unclear') verdict = 'unclear';
  }
  return verdict;
}

/** One verdict about several readings of the same value: they must agree, otherwise it is unclear. */
export function agreed(readings: Iterable<Verdict>): Verdict {
  let verdict: Verdict | undefined;
  for (const reading of readings) {
    if (verdict !== undefined && reading !== verdict) return 'unclear';
    verdict = reading;
  }
  return verdict ?? 'unclear';
}
