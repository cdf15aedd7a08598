/**
 * Fuzzes the request scanner, the edits and the stream splitter against other parsers.
 *
 *     npm run fuzz -- [--cases 200000] [--seed 1] [--only NAME] [--python python3]
 *
 * `--only` takes the targets whose name holds NAME. `--python` shows every accepted message to that program's own parser, too. Prints what
 * each target tried; a failure comes with its counterexample. Exit code 1 on a failure.
 */
import { parseArgs } from 'node:util';
import { PythonParser } from './python.ts';
import { ScannerOracle, scannerTargets } from './scanner.ts';
import { streamTargets } from './stream.ts';
import { runTarget } from './target.ts';

const { values: options } = parseArgs({
  options: {
    cases: { type: 'string', default: '200000' },
    seed: { type: 'string' },
    only: { type: 'string', default: '' },
    python: { type: 'string' },
  },
});
const cases = Number(options.cases);
const seed = options.seed === undefined ? Date.now() % 1_000_000 : Number(options.seed);
if (!Number.isInteger(cases) || cases < 1 || !Number.isInteger(seed)) throw new Error('--cases and --seed are whole numbers.');

const python = options.python === undefined ? undefined : new PythonParser(options.python);
const oracle = new ScannerOracle((text, reading) => python?.keep(text, reading));
const targets = [...scannerTargets(oracle), ...streamTargets()].filter(({ name }) => name.includes(options.only));
const began = performance.now();
let tried = 0;
let failures = 0;
console.log(`seed ${seed}`);
for (const target of targets) {
  const from = performance.now();
  const result = runTarget(target, cases, seed);
  tried += result.cases;
  console.log(
    `${result.failure === undefined ? 'ok  ' : 'FAIL'}  ${target.name}: ${result.cases} cases (${result.tally.toString()}), ${seconds(from)} s`,
  );
  const disagreed = await python?.settle();
  for (const failure of [result.failure, disagreed]) {
    if (failure === undefined) continue;
    failures++;
    console.log(failure);
  }
}
oracle.close();
python?.close();
console.log(
  `fuzz: ${failures === 0 ? 'OK' : 'FAILED'}, ${tried} cases in ${targets.length} targets, seed ${seed}, ${failures} failures, ${seconds(began)} s`,
);
process.exitCode = failures > 0 || tried === 0 ? 1 : 0;

function seconds(from: number): string {
  return ((performance.now() - from) / 1_000).toFixed(1);
}
