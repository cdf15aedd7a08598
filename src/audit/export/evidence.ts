import type { ActivityIndex, ActivitySummary } from '../activityIndex.ts';
import type { Activity } from '../activities.ts';
import { parseBody, type Act } from '../record.ts';
import type { Period } from '../spanJobs.ts';
import type { Verification } from '../verification.ts';
import type { EndedGrant } from './endedGrants.ts';
import { fateOf } from './event.ts';

/** A permission as the report lists it; authorization describes its grants so. */
export interface EvidencePermission {
  readonly who: string;
  readonly server: string;
  readonly what: string;
  readonly effect: string;
  readonly until: string;
  readonly givenBy: string;
}

/** All that a report says. Plain data. */
export interface Evidence {
  /** Milliseconds since the epoch. */
  readonly from: number;
  readonly to: number;
  readonly made: number;
  readonly version: string;
  /** In force when the report is made. */
  readonly permissions: readonly EvidencePermission[];
  /** In force in the period, and ended since; the newest. */
  readonly ended: readonly EndedGrant[];
  readonly moreEnded: boolean;
  readonly summary: ActivitySummary;
  /** Labels of servers by id. */
  readonly labels: ReadonlyMap<string, string>;
  /** Calls that were denied or stopped, newest first, and whether there are more. */
  readonly stopped: readonly Activity[];
  readonly moreStopped: boolean;
  /** The newest, oldest first, and whether there are more. */
  readonly acts: readonly { readonly at: number; readonly act: Act }[];
  readonly moreActs: boolean;
  readonly verification: Verification;
  readonly keyThumbprint: string;
}

/** Denied calls and acts that a report lists one by one. */
export const MAX_LISTED = 500;
/** Acts about grants that are read for a report: more than anybody gives by hand. */
export const MAX_GRANTS = 20_000;

/** The acts of a report that can be read; `acts` as they are stored. */
export function readActs(acts: readonly { readonly at: number; readonly body: string }[]): { at: number; act: Act }[] {
  return acts.flatMap(({ at, body }) => {
    const act = parseBody('act', body);
    return act ? [{ at, act: act as Act }] : [];
  });
}

/** Gathers the part of a report that comes from the index; `acts` are those of the period as they are stored, oldest first. */
export async function gatherActivity(
  index: ActivityIndex,
  acts: readonly { readonly at: number; readonly body: string }[],
  span: Period,
): Promise<Pick<Evidence, 'summary' | 'stopped' | 'moreStopped' | 'acts' | 'moreActs'>> {
  await index.update();
  const [denied, ended] = await Promise.all([
    index.calls({ ...span, decision: 'denied' }, { limit: MAX_LISTED }),
    index.calls({ ...span, decision: 'stopped' }, { limit: MAX_LISTED }),
  ]);
  const stopped = [...denied.calls, ...ended.calls].sort((a, b) => b.seq - a.seq);
  return {
    summary: await index.aggregate(span),
    stopped: stopped.slice(0, MAX_LISTED),
    moreStopped: stopped.length > MAX_LISTED || denied.next !== undefined || ended.next !== undefined,
    acts: readActs(acts.slice(-MAX_LISTED)),
    moreActs: acts.length > MAX_LISTED,
  };
}

type Block =
  | { readonly kind: 'heading'; readonly level: 1 | 2; readonly text: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'table'; readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] };

const MORE: Block = { kind: 'text', text: 'There are more; the whole list is in the export.' };

/** The report in Markdown. What comes from agents and servers can't make anything of itself in it. */
export function evidenceMarkdown(evidence: Evidence): string {
  const safe = (text: string) => text.replace(/[\r\n]+/g, ' ').replace(/[\\`*_{}[\]()#+!|<>~&-]/g, '\\$&');
  return `${blocksOf(evidence)
    .map((block) => {
      if (block.kind === 'heading') return `${'#'.repeat(block.level)} ${safe(block.text)}`;
      if (block.kind === 'text') return safe(block.text);
      const row = (cells: readonly string[]) => `| ${cells.map(safe).join(' | ')} |`;
      return [row(block.head), `|${' --- |'.repeat(block.head.length)}`, ...block.rows.map(row)].join('\n');
    })
    .join('\n\n')}\n`;
}

/** The report as one HTML page without scripts or anything from outside, laid out for printing to PDF. */
export function evidenceHtml(evidence: Evidence): string {
  const safe = (text: string) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const body = blocksOf(evidence).map((block) => {
    if (block.kind === 'heading') return `<h${block.level}>${safe(block.text)}</h${block.level}>`;
    if (block.kind === 'text') return `<p>${safe(block.text)}</p>`;
    const row = (cells: readonly string[], tag: 'td' | 'th') =>
      `<tr>${cells.map((cell) => `<${tag}>${safe(cell)}</${tag}>`).join('')}</tr>`;
    return `<table><thead>${row(block.head, 'th')}</thead><tbody>${block.rows.map((cells) => row(cells, 'td')).join('')}</tbody></table>`;
  });
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>Evidence report</title><style>
@page { size: A4; margin: 18mm; }
body { font: 10pt/1.4 system-ui, sans-serif; color: #111; max-width: 190mm; margin: 0 auto; padding: 1em; }
h1 { font-size: 18pt; } h2 { font-size: 13pt; margin-top: 2em; break-after: avoid; }
table { border-collapse: collapse; width: 100%; font-size: 8.5pt; margin-bottom: 1.2em; } thead { display: table-header-group; } tr { break-inside: avoid; }
th, td { border: 0.5pt solid #999; padding: 2pt 4pt; text-align: left; vertical-align: top; overflow-wrap: anywhere; min-width: 5em; } th { background: #eee; }
p:has(+ table) { margin-bottom: 0.4em; break-after: avoid; }
</style></head><body>
${body.join('\n')}
</body></html>
`;
}

function blocksOf(evidence: Evidence): Block[] {
  const { summary, verification, labels } = evidence;
  const time = (ms: number) => new Date(ms).toISOString().replace('T', ' ').slice(0, 19);
  const label = (server: string) => labels.get(server) ?? server;
  const servers = new Map<string, { calls: number; ok: number; denied: number; failed: number; findings: number }>();
  for (const { server, effect, result, calls, findings } of summary.timeline) {
    let sum = servers.get(server);
    if (!sum) servers.set(server, (sum = { calls: 0, ok: 0, denied: 0, failed: 0, findings: 0 }));
    sum.calls += calls;
    sum.findings += findings;
    if (effect === 'deny' || result === 'denied' || result === 'closed') sum.denied += calls;
    else if (result === 'ok') sum.ok += calls;
    else sum.failed += calls;
  }
  const credentials = new Map<string, number>();
  for (const { credential, calls } of summary.credentials) credentials.set(credential, (credentials.get(credential) ?? 0) + calls);
  const crashed = verification.endings.filter(({ how }) => how === 'crashed');
  const table = (head: readonly string[], rows: readonly (readonly string[])[], none: string): Block =>
    rows.length > 0 ? { kind: 'table', head, rows } : { kind: 'text', text: none };
  return [
    { kind: 'heading', level: 1, text: 'Evidence report' },
    {
      kind: 'text',
      text: `Agent access through Culvert ${evidence.version} from ${time(evidence.from)} to ${time(evidence.to)}, made ${time(evidence.made)}. All times are UTC.`,
    },
    { kind: 'heading', level: 2, text: 'Who could do what' },
    { kind: 'text', text: 'In force when this report was made, of what was given before the end of the period:' },
    table(
      ['Who', 'Server', 'What', 'Effect', 'Until', 'Given by'],
      evidence.permissions.map(({ who, server, what, effect, until, givenBy }) => [who, server, what, effect, until, givenBy]),
      'Nothing.',
    ),
    { kind: 'text', text: 'In force in the period, and ended since:' },
    table(
      ['Server', 'What and for whom', 'Given', 'Given by', 'Ended', 'How'],
      evidence.ended.map(({ server, what, givenAt, givenBy, endedAt, how }) => [
        label(server),
        what,
        givenAt === undefined ? 'before this record begins' : time(givenAt),
        givenBy?.replace(/^by /, '') ?? '',
        endedAt === undefined ? '' : time(endedAt),
        how,
      ]),
      'Nothing.',
    ),
    ...(evidence.moreEnded ? [MORE] : []),
    { kind: 'heading', level: 2, text: 'What was done' },
    { kind: 'text', text: 'Calls by server:' },
    table(
      ['Server', 'Calls', 'Went well', 'Failed', 'Denied or stopped', 'Findings'],
      [...servers].map(([server, s]) => [label(server), ...[s.calls, s.ok, s.failed, s.denied, s.findings].map(String)]),
      'There were no calls.',
    ),
    { kind: 'text', text: 'Credentials:' },
    table(
      ['Credential', 'Calls it went along with'],
      [...credentials].map(([name, calls]) => [name, String(calls)]),
      'No credential was used.',
    ),
    { kind: 'text', text: 'What else was done, by users and by Culvert:' },
    table(
      ['Time', 'Act', 'What', 'Detail'],
      evidence.acts.map(({ at, act }) => [time(at), act.act, act.subject ?? '', act.detail ?? '']),
      'Nothing was changed.',
    ),
    ...(evidence.moreActs ? [MORE] : []),
    { kind: 'heading', level: 2, text: 'What was stopped' },
    table(
      ['Time', 'Client (as it says)', 'Server', 'Tool or method', 'How', 'Why'],
      evidence.stopped.map((activity) => {
        const { at, intent, outcome } = activity;
        return [
          time(at),
          intent.claims['clientName'] ?? intent.client,
          intent.serverLabel,
          intent.tool ?? intent.method,
          fateOf(activity),
          outcome?.error ?? intent.reason,
        ];
      }),
      'Nothing was stopped.',
    ),
    ...(evidence.moreStopped ? [MORE] : []),
    { kind: 'heading', level: 2, text: 'Integrity' },
    {
      kind: 'text',
      text:
        verification.problems.length === 0
          ? `${verification.entries} entries in ${verification.chains} chains and ${verification.checkpoints} signed checkpoints were checked: all of it holds.`
          : `${verification.entries} entries were checked and ${verification.problems.length} problems found.`,
    },
    ...(verification.problems.length > 0
      ? [
          table(
            ['Problem'],
            verification.problems.map((text) => [text]),
            '',
          ),
        ]
      : []),
    ...(verification.dropped > 0
      ? [{ kind: 'text', text: `${verification.dropped} entries were dropped by retention, under signature.` } as const]
      : []),
    ...(crashed.length > 0
      ? [
          table(
            ['Window that broke off', 'Last entry', 'Calls whose end is not known'],
            crashed.map(({ chain, at, open }) => [chain, time(at), String(open)]),
            '',
          ),
        ]
      : []),
    { kind: 'text', text: `Key of the signatures (RFC 7638): ${evidence.keyThumbprint}` },
  ];
}
