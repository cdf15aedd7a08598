import type { Act } from '../record.ts';
import type { Period } from '../spanJobs.ts';

/** A grant that was in force in a period and is no more, as far as the record tells. */
export interface EndedGrant {
  /** Id of the server. */
  readonly server: string;
  /** Effect, tools, conditions and whom it was for, in words. */
  readonly what: string;
  /** Milliseconds since the epoch; absent if it was given before the record begins. */
  readonly givenAt: number | undefined;
  /** `by user`; absent as `givenAt`. */
  readonly givenBy: string | undefined;
  /** Milliseconds since the epoch; absent if it was used up or ended with something else, and nobody noted when. */
  readonly endedAt: number | undefined;
  readonly how: 'revoked' | 'ran out' | 'used up, or ended with its task or window';
}

/**
 * The grants of a period that are no longer there, by what is on record of giving and revoking them, oldest first. `acts` are those up to
 * the end of the period, oldest first; `live` the ids of the grants that are still there. A grant that is replaced by another counts as revoked.
 */
export function endedGrants(
  acts: readonly { readonly at: number; readonly act: Act }[],
  { from }: Period,
  live: ReadonlySet<string>,
): EndedGrant[] {
  const grants = new Map<string, { given?: (typeof acts)[number]; revoked?: (typeof acts)[number] }>();
  for (const entry of acts) {
    const { act, id } = entry.act;
    if (id === undefined || (act !== 'grant-given' && act !== 'grant-revoked')) continue;
    const known = grants.get(id);
    if (act === 'grant-given') grants.set(id, { given: entry });
    else grants.set(id, { ...known, revoked: entry });
  }
  return [...grants].flatMap(([id, { given, revoked }]): EndedGrant[] => {
    const { server = '', subject: what = '' } = (given ?? revoked)?.act ?? {};
    const until = given?.act.until;
    if (!revoked && live.has(id)) return [];
    // What had run out may have been swept away later.
    const ranOut = until !== undefined && until <= (revoked?.at ?? Infinity);
    const endedAt = ranOut ? until : revoked?.at;
    if (endedAt !== undefined && endedAt <= from) return [];
    return [
      {
        server,
        what,
        givenAt: given?.at,
        givenBy: given?.act.detail,
        endedAt,
        how: ranOut ? 'ran out' : revoked ? 'revoked' : 'used up, or ended with its task or window',
      },
    ];
  });
}
