/**
 * Many sessions through one tunnel for a while, with everything failing that can fail.
 *
 *     npm run soak -- [--minutes 10] [--sessions 200] [--seed 1] [--kill-every 20] [--rotate-every 15]
 *
 * The last two are seconds. Prints how it goes and a summary; exit code 1 if anything is not as it must be.
 */
import { parseArgs } from 'node:util';
import { compiledTextScan } from '../../scripts/textScan.ts';
import { soak } from './soak.ts';

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    sessions: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    'kill-every': { type: 'string', default: '20' },
    'rotate-every': { type: 'string', default: '15' },
  },
});

compiledTextScan();
const { summary, violations } = await soak({
  seconds: Number(options.minutes) * 60,
  sessions: Number(options.sessions),
  seed: Number(options.seed),
  killEvery: Number(options['kill-every']),
  rotateEvery: Number(options['rotate-every']),
  onProgress: (line) => console.log(line),
});
for (const line of summary) console.log(line);
for (const violation of violations) console.log(`VIOLATION ${violation}`);
console.log(`soak: ${violations.length === 0 ? 'OK' : 'FAILED'}`);
process.exitCode = violations.length === 0 ? 0 : 1;
