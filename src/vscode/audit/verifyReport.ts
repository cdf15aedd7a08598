import { fateOf, sentenceOf } from '../../audit/export/event.ts';
import type { Review } from '../../audit/export/review.ts';
import type { Act, Entry, Intent } from '../../audit/record.ts';
import type { Ending, Fault, Verification } from '../../audit/verification.ts';
import { visible } from '../../common/text.ts';
import { count, counted, utc } from './progress.ts';

/** What is said of an entry beside a fault: what it says now. */
export type Describe = (seq: number) => string | undefined;

/** A verification as a document for reading. `calls` names calls by their exchange. */
export function verificationText(
  verification: Verification,
  about: {
    readonly at: number;
    readonly thumbprint: string;
    readonly describe: Describe;
    readonly call: (exchange: string) => string | undefined;
  },
): string {
  const { entries, chains, checkpoints, dropped, problems, faults, endings } = verification;
  const crashed = endings.filter(({ how }) => how === 'crashed');
  const running = endings.filter(({ how }) => how === 'running');
  const lines = [
    `Audit history, verified ${utc(about.at)}`,
    '',
    problems.length === 0
      ? 'All of it holds.'
      : `It was changed by something other than Culvert: ${counted(faults.length, 'problem')}${problems.length > faults.length ? ', and more of the same kind' : ''}.`,
    '',
    `${counted(entries, 'entry', 'entries')} in ${counted(chains, 'chain')} (one for each window), ${counted(checkpoints, 'signed checkpoint')}.`,
    ...(dropped > 0 ? [`${counted(dropped, 'entry', 'entries')} were dropped by retention, under signature.`] : []),
    `Key of the signatures (RFC 7638): ${about.thumbprint}`,
  ];
  if (faults.length > 0) {
    lines.push('', '', 'Problems', '');
    faults.forEach((fault, i) => lines.push(...faultLines(fault, i + 1, about.describe), ''));
    for (const rest of problems.slice(faults.length)) lines.push(`     ${rest}`, '');
    lines.push(
      'What to do: keep a copy of the database file and of the log before anything else. Compare with a streaming export or an older',
      'export, if there is one. Whoever did this has write access to your files.',
    );
  }
  if (crashed.length > 0) {
    lines.push('', '', 'Windows that broke off (a crash, a kill, a power cut; no sign of tampering)', '');
    for (const ending of crashed) lines.push(...endingLines(ending, about.call), '');
  }
  if (running.length > 0) {
    lines.push('', '', 'Windows that are open', '');
    for (const { chain, n, at } of running) lines.push(`  ${chain}: ${counted(n, 'entry', 'entries')}, the last at ${utc(at)}`);
  }
  lines.push('', '', 'What this can’t prove stands in docs/audit-format.md.', '');
  return lines.join('\n');
}

const NAMES: Readonly<Record<Fault['kind'], string>> = {
  edited: 'An entry was edited',
  index: 'The index of an entry was edited',
  missing: 'Entries are missing',
  inserted: 'An entry was put in',
  reordered: 'Entries were reordered',
  cut: 'The end of a chain was cut off',
  'chain-removed': 'A chain was removed',
  rewritten: 'A chain was rewritten',
  'foreign-chain': 'A chain was added from outside',
  'checkpoint-forged': 'A checkpoint is forged',
  'checkpoint-removed': 'A checkpoint was removed',
  'checkpoints-removed': 'The checkpoints were removed',
  'rolled-back': 'The database was cut, or an older copy put back',
};

function faultLines(fault: Fault, number: number, describe: Describe): string[] {
  const { kind, chain, from, to, seq, at, checkpoint, text } = fault;
  const where = [
    ...(chain === undefined ? [] : [`chain ${chain}`]),
    ...(from === undefined ? [] : [from === to || to === undefined ? `entry ${count(from)}` : `entries ${count(from)} to ${count(to)}`]),
    ...(seq === undefined ? [] : [`row ${seq} of the table audit`]),
    ...(checkpoint === undefined ? [] : [`row ${checkpoint} of the table checkpoint`]),
    ...(at === undefined ? [] : [utc(at)]),
  ];
  const says = seq === undefined ? undefined : describe(seq);
  return [
    `${String(number).padStart(3)}. ${NAMES[kind]} (${kind})`,
    `     ${text}`,
    ...(where.length > 0 ? [`     Where: ${where.join(', ')}`] : []),
    ...(says === undefined ? [] : [`     It now says: ${says}`]),
  ];
}

function endingLines({ chain, n, at, open, exchanges }: Ending, call: (exchange: string) => string | undefined): string[] {
  return [
    `  ${chain}: ${counted(n, 'entry', 'entries')}, the last at ${utc(at)}${open > 0 ? `; ${counted(open, 'call')} without an end:` : ''}`,
    ...exchanges.map((exchange) => `    ${exchange}  ${call(exchange) ?? ''}`.trimEnd()),
    ...(open > exchanges.length ? [`    and ${count(open - exchanges.length)} more`] : []),
  ];
}

/** What an entry says, in a line. */
export function entryText({ kind, at, body }: Entry): string {
  if (kind === 'act') return visible(`${(body as Act).act} ${(body as Act).subject ?? ''}, ${utc(at)}`, 200);
  if (kind === 'outcome') return `the end of a call, ${utc(at)}`;
  return intentText(body as Intent, at);
}

/** A call, in a line. */
export function intentText(intent: Intent, at: number): string {
  return visible(`${intent.method}${intent.tool === undefined ? '' : ` ${intent.tool}`} of ${intent.serverLabel}, ${utc(at)}`, 200);
}

/** An export under review as a document for reading. `own` is the key of this installation. */
export function reviewText(review: Review, about: { readonly file: string; readonly at: number; readonly own: string }): string {
  const { imported, verification, events, more } = review;
  const key =
    imported.thumbprint === about.own
      ? 'the key of this installation'
      : 'not the key of this installation; compare it with the one that its owner sees under “Culvert: Verify Audit History”';
  const text = verificationText(verification, {
    at: about.at,
    thumbprint: imported.thumbprint,
    describe: () => undefined,
    call: () => undefined,
  });
  const [, ...rest] = text.split('\n');
  return [
    `Export of an audit history: ${about.file}`,
    `Made ${utc(imported.made)}, reviewed ${utc(about.at)}. ${imported.whole ? 'It says that it is whole.' : 'It is a part of the history.'}`,
    `Signed by ${imported.thumbprint}: ${key}.`,
    ...rest,
    '',
    'What was done, oldest first',
    ...(more > 0 ? [`(the newest ${count(events.length)}; ${count(more)} more stand before them in the file)`] : []),
    '',
    ...events.map((event) => {
      if (event.kind === 'act') return `${utc(event.at)}  ${event.id}  ${visible(sentenceOf(event), 300)}`;
      const { intent, outcome } = event;
      const ms = outcome === undefined ? '' : `, ${Math.round(outcome.totalMs)} ms`;
      const found = (outcome?.findings ?? 0) > 0 ? `, ${counted(outcome?.findings ?? 0, 'finding')}` : '';
      return `${utc(event.at)}  ${event.id}  ${visible(sentenceOf(event), 200)}${ms}${found} — ${visible(intent.reason, 200)}${fateOf(event) === 'unknown' ? ' Its end is not on record.' : ''}`;
    }),
    '',
  ].join('\n');
}
