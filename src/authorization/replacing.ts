import type { Grant, Target } from './grant.ts';

/** Grants older than this beyond their expiry are removed from the database, milliseconds. Until then they explain a denial. */
const KEEP_EXPIRED_MS = 24 * 60 * 60 * 1000;

/** True if the grant ended so long ago that it explains nothing any more. */
export function isLongOver({ expiresAt }: Grant, now: number): boolean {
  return expiresAt !== undefined && expiresAt < now - KEEP_EXPIRED_MS;
}

/** True if the grant ends by itself. */
export function isPassing({ expiresAt, endsWith, uses }: Grant): boolean {
  return expiresAt !== undefined || endsWith !== undefined || uses !== undefined;
}

/**
 * True if `row` takes the place of `old`. A permission for a while does not take away a lasting “ask”: when it ends, the user is
 * asked again instead of whatever a wider grant says. One that ends with a task leaves lasting permissions alone.
 */
export function supersedes(row: Grant, old: Grant): boolean {
  if (old.server !== row.server || !sameTarget(old.target, row.target)) return false;
  if (row.effect !== 'allow' || !isPassing(row) || isPassing(old)) return true;
  return old.effect !== 'ask' && (old.effect !== 'allow' || row.endsWith === undefined);
}

export function sameTarget(a: Target, b: Target): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The same callers and the same arguments. */
export function sameReach(a: Grant, b: Grant): boolean {
  return (
    a.scope.client === b.scope.client &&
    a.scope.window === b.scope.window &&
    a.scope.workspace === b.scope.workspace &&
    a.scope.session === b.scope.session &&
    a.scope.branch === b.scope.branch &&
    JSON.stringify(a.conditions) === JSON.stringify(b.conditions)
  );
}
