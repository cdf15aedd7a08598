import * as z from 'zod';
import type { ActivityFilter } from '../../audit/activityFilter.ts';
import { visible } from '../../common/text.ts';

/** A filter as it is kept for a workspace. */
export const StoredFilter = z.strictObject({
  server: z.string().max(200).exactOptional(),
  tool: z.string().max(1_000).exactOptional(),
  clientName: z.string().max(1_000).exactOptional(),
  decision: z.enum(['allowed', 'denied', 'stopped']).exactOptional(),
  result: z.enum(['tool-error', 'upstream-error']).exactOptional(),
  findings: z.literal(true).exactOptional(),
  text: z.string().min(1).max(1_000).exactOptional(),
});
export type StoredFilter = z.infer<typeof StoredFilter>;

/** The filter in a few words for the view's title; `undefined` if there is none. */
export function describeFilter(filter: ActivityFilter, serverLabel: (id: string) => string): string | undefined {
  const parts = [
    filter.server === undefined ? '' : visible(serverLabel(filter.server), 30),
    filter.tool === undefined ? '' : visible(filter.tool, 40),
    filter.clientName === undefined ? '' : `by ${visible(filter.clientName, 30)}`,
    filter.decision ?? '',
    filter.result === 'tool-error' ? 'tool errors' : filter.result === 'upstream-error' ? 'failed servers' : '',
    filter.findings === true ? 'with findings' : '',
    filter.text === undefined ? '' : `“${visible(filter.text, 30)}”`,
  ].filter((part) => part !== '');
  return parts.length > 0 ? parts.join(', ') : undefined;
}
