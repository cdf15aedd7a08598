import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SseSplitter } from '../../../src/mcp/sse.ts';
import { ScannerOracle, scannerTargets } from '../../fuzz/scanner.ts';
import { streamTargets } from '../../fuzz/stream.ts';
import { runTarget } from '../../fuzz/target.ts';

/** The share of a long run (`npm run fuzz`) that runs every time, always the same. */
const CASES = 30_000;
const SEED = 20_260_728;

describe('fuzz, a fixed share', function () {
  this.timeout(90_000);
  const oracle = new ScannerOracle();
  after(() => oracle.close());

  for (const target of [...scannerTargets(oracle), ...streamTargets()])
    it(target.name, () => {
      const { failure, tally } = runTarget(target, CASES, SEED);
      assert.equal(failure, undefined);
      assert.ok(tally.counts.size > 0, 'nothing was tried');
    });

  it('leaves no share out', () => {
    const all = [...scannerTargets(oracle), ...streamTargets()].reduce((sum, { share }) => sum + share, 0);
    assert.ok(Math.abs(all - 1) < 1e-9, `all shares together are ${all}`);
  });
});

describe('SseSplitter', () => {
  it('holds a stream that comes byte by byte in little more than its bytes', () => {
    const collect = collector();
    const length = 512 * 1024;
    const splitter = new SseSplitter();
    collect();
    const before = process.memoryUsage().heapUsed;
    const byte = Buffer.from('x');
    splitter.push(Buffer.from('data:'));
    for (let i = 0; i < length; i++) splitter.push(byte);
    collect();
    // An object for each byte takes a hundred times as much.
    assert.ok(process.memoryUsage().heapUsed - before < 4 * length);
    assert.equal(splitter.push(Buffer.from('\n\n'))[0]?.data?.length, length);
  });
});

/** The garbage collector, which is there for who asks. */
function collector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
