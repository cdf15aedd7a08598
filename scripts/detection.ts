/**
 * Precision and speed of detection on clean text: `npm run detection -- [--megabytes 40] [--show] [--strict]`.
 *
 * The corpus is made of the packages that `npm ci` installs: JSON, source, type declarations, documentation, and logs and messages made from
 * them, about equal shares, the same files on every machine with the same lock file. What is found in it counts as false; `--show` lists it
 * (rule and file, nothing of the text), to be judged by a person. `--strict` makes a missed target the exit code 1.
 */
import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { findHiddenText, mayHideText } from '../src/detection/hiddenText.ts';
import { KnownSecrets } from '../src/detection/knownSecrets.ts';
import { RULES } from '../src/detection/rules/all.ts';
import { PatternMatcher } from '../src/detection/rules/matcher.ts';
import type { Tier } from '../src/detection/rules/rule.ts';
import { MB, corpus, type Piece } from './corpus.ts';
import { compiledTextScan } from './textScan.ts';

/** Issue 5. */
const MAX_FINDINGS_PER_MB = 0.1;
const MIN_MB_PER_S = 80;
const SECRETS = 200;
const { values: options } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '40' },
    show: { type: 'boolean', default: false },
    strict: { type: 'boolean', default: false },
  },
});

/** MB/s of the fastest of three rounds over all pieces. */
function speedOf(pieces: readonly Piece[], look: (text: Buffer) => void): number {
  const bytes = pieces.reduce((sum, { text }) => sum + text.length, 0);
  let best = 0;
  for (let round = 0; round < 3; round++) {
    const begin = performance.now();
    for (const { text } of pieces) look(text);
    best = Math.max(best, bytes / MB / ((performance.now() - begin) / 1000));
  }
  return best;
}

compiledTextScan();
const pieces = corpus(Number(options.megabytes));
const megabytes = pieces.reduce((sum, { text }) => sum + text.length, 0) / MB;
const known = new KnownSecrets();
for (let i = 0; i < SECRETS; i++) {
  const random = createHash('sha512').update(`made up ${i}`).digest('base64url');
  const prefix = [['gh', 'p_'], ['sk', '-proj-'], [], ['xo', 'xb-']][i % 4] ?? [];
  known.set(`s${i}`, prefix.join('') + random.slice(0, 24 + (i % 5) * 8));
}
let begin = performance.now();
known.prepare();
const prepared = performance.now() - begin;
begin = performance.now();
const patterns = new PatternMatcher(RULES);
const compiled = performance.now() - begin;

const counts = new Map<Tier, number>([
  ['exact', 0],
  ['structured', 0],
  ['generic', 0],
]);
const byRule = new Map<string, number>();
let knownFound = 0;
let hidden = 0;
for (const { kind, name, text } of pieces) {
  for (const { rule } of patterns.find(text)) {
    counts.set(rule.tier, (counts.get(rule.tier) ?? 0) + 1);
    byRule.set(rule.id, (byRule.get(rule.id) ?? 0) + 1);
    if (options.show && rule.tier !== 'generic') console.log(`  ${rule.id}: ${kind} ${name}`);
  }
  knownFound += known.find(text).length;
  const spans = mayHideText(text) ? findHiddenText(text) : [];
  hidden += spans.length;
  if (options.show && spans.length > 0)
    console.log(`  hidden text (${[...new Set(spans.map((s) => s.kind))].join(', ')}): ${spans.length} in ${kind} ${name}`);
}

console.log(
  `${megabytes.toFixed(1)} MB in ${pieces.length} texts; ${RULES.length} rules; ${SECRETS} secrets prepared in ${prepared.toFixed(0)} ms, rules in ${compiled.toFixed(0)} ms`,
);
const redacted = (counts.get('exact') ?? 0) + (counts.get('structured') ?? 0);
for (const [tier, count] of counts)
  console.log(`${tier.padEnd(12)} ${String(count).padStart(6)} findings  ${(count / megabytes).toFixed(3)} per MB`);
console.log(
  [...byRule]
    .sort((a, b) => b[1] - a[1])
    .map(([id, count]) => `${id} ${count}`)
    .join(', '),
);
console.log(`known secrets ${knownFound} findings, hidden text ${hidden} spans`);
const speeds = {
  'known secrets': speedOf(pieces, (text) => known.find(text)),
  patterns: speedOf(pieces, (text) => patterns.find(text)),
  'hidden text': speedOf(pieces, (text) => mayHideText(text) && findHiddenText(text)),
};
for (const [what, speed] of Object.entries(speeds)) console.log(`${what.padEnd(14)} ${speed.toFixed(0).padStart(5)} MB/s`);
for (const kind of new Set(pieces.map((piece) => piece.kind))) {
  const some = pieces.filter((piece) => piece.kind === kind);
  console.log(
    `  ${kind.padEnd(18)} known ${speedOf(some, (text) => known.find(text))
      .toFixed(0)
      .padStart(5)} MB/s, patterns ${speedOf(some, (text) => patterns.find(text))
      .toFixed(0)
      .padStart(5)} MB/s`,
  );
}
const missed = [
  redacted / megabytes > MAX_FINDINGS_PER_MB && 'precision',
  knownFound > 0 && 'known secrets where none are',
  speeds['known secrets'] < MIN_MB_PER_S && 'speed of known secrets',
  speeds.patterns < MIN_MB_PER_S && 'speed of patterns',
].filter((miss) => miss !== false);
console.log(missed.length > 0 ? `missed: ${missed.join(', ')}` : 'all targets met');
if (options.strict && missed.length > 0) process.exitCode = 1;
