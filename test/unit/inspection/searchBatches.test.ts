import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import { Inspector, type Inspected, type Passing } from '../../../src/inspection/inspector.ts';
import type { Found } from '../../../src/inspection/search.ts';
import { BATCHED_BYTES, MIN_BATCHED_BYTES, SearchBatches, type Batch } from '../../../src/inspection/searchBatches.ts';
import { SecretSearch } from '../../../src/inspection/secretSearch.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';

const WHERE: Passing = { server: 's', serverLabel: 'S', tool: 't', workspace: undefined };
const CLEAN: Found = { hits: [], complete: true };

const answer = (id: number, text: string): Buffer =>
  Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } }));
/** What some already are and others will be. */
const all = <T>(looked: readonly (T | Promise<T>)[]): Promise<T[]> => Promise.all(looked.map((one) => Promise.resolve(one)));
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A little more than is searched where it is, that holds nothing; different for every number. */
const plain = (n: number) => Array.from({ length: MIN_BATCHED_BYTES / 3 }, (_, i) => `w${(n * 7 + i) % 97}`).join(' ');

describe('Messages that come many at a time', function () {
  this.timeout(30_000);
  let secrets: SecretSearch;
  let threads: number;
  beforeEach(async () => {
    threads = 0;
    secrets = new SecretSearch({
      onProblem: (problem) => assert.fail(problem),
      startThread: () => {
        threads++;
        return new Worker(new URL('../../../src/inspection/searchThread.ts', import.meta.url), {
          execArgv: ['--disable-warning=ExperimentalWarning'],
        });
      },
    });
    await secrets.ready();
  });
  afterEach(() => secrets.dispose());

  const inspector = () => new Inspector({ secrets, nameOf: () => 'token' });
  /** Looks at several messages of one turn, again and again until some of them are looked at in the thread. */
  const busy = async (look: (bytes: Buffer) => Inspected | Promise<Inspected>): Promise<void> => {
    for (let elsewhere = false; !elsewhere; await turn()) {
      const looked = [1, 2, 3].map((n) => look(answer(n, plain(n))));
      elsewhere = looked.some((one) => one instanceof Promise);
      await all(looked);
    }
  };

  it('are searched in the thread with the same result, whatever they hold', async () => {
    const secret = madeUpSecret();
    secrets.learn('a@1', secret);
    const { look } = bound(inspector());
    await busy(look);
    assert.equal(threads, 1);
    let inThread = 0;
    for (let round = 0; round < 30; round++) {
      const messages = Array.from({ length: 1 + (round % 9) }, (_, i) => {
        const text = plain(round * 31 + i);
        const at = (round * 131 + i * 977) % text.length;
        return answer(i, i % 3 === 1 ? `${text.slice(0, at)} ${secret} ${text.slice(at)}` : text);
      });
      const looked = messages.map(look);
      inThread += looked.filter((one) => one instanceof Promise).length;
      const out = await all(looked);
      out.forEach((one, i) => {
        const alone = inspector().message(messages[i]!, WHERE);
        assert.equal(one.bytes.toString(), alone.bytes.toString());
        assert.deepEqual(one.findings, alone.findings);
        assert.deepEqual(tracesIn(one.bytes, secret), []);
        assert.equal(one.findings.length, i % 3 === 1 ? 1 : 0);
      });
    }
    assert.ok(inThread > 30, `${inThread} in the thread`);
  });

  it('are held against a secret that came to be known while they were there', async () => {
    const { look } = bound(inspector());
    await busy(look);
    const secret = madeUpSecret('late');
    let waited = 0;
    for (let round = 0; round < 10; round++) {
      const looked = [1, 2, 3].map((n) => look(answer(n, `${plain(n)} ${secret}`)));
      waited += looked.filter((one) => one instanceof Promise).length;
      await turn();
      secrets.learn('late@1', secret);
      for (const one of looked) if (one instanceof Promise) assert.deepEqual(tracesIn((await one).bytes, secret), []);
      secrets.forget('late@1');
    }
    assert.ok(waited > 0);
  });

  it('get their answer though the thread is gone, and one alone is looked at here', async () => {
    const secret = madeUpSecret();
    secrets.learn('a@1', secret);
    const { look } = bound(inspector());
    await busy(look);
    const looked = [1, 2, 3].map((n) => look(answer(n, `${plain(n)} ${secret}`)));
    assert.ok(looked.some((one) => one instanceof Promise));
    secrets.dispose();
    for (const one of await all(looked)) assert.equal(one.findings.length, 1);
    assert.ok(!(look(answer(4, plain(4))) instanceof Promise));
  });
});

describe('SearchBatches', () => {
  const large = Buffer.alloc(MIN_BATCHED_BYTES, 0x61);
  /** Batches that a test answers itself, `sent`; what was searched here, `here`. */
  const batches = (ready = () => true) => {
    const sent: Batch[] = [];
    const here: Buffer[] = [];
    const made = new SearchBatches({
      ready,
      send: (batch) => sent.push(batch),
      here: (bytes) => {
        here.push(bytes);
        return CLEAN;
      },
      version: () => 1,
    });
    return { made, sent, here };
  };
  const wake = async (made: SearchBatches) => {
    await all([made.take(large), made.take(large)]);
    await turn();
  };
  /** The messages of a batch as the thread sees them. */
  const read = ({ memory, start, ends }: Batch) => ends.map((end, i) => Buffer.from(memory).subarray(i === 0 ? start : ends[i - 1], end));

  it('leaves a message alone, small ones, and all while there is no thread, to whoever asks', async () => {
    const { made, sent } = batches();
    for (let i = 0; i < 50; i++) {
      assert.equal(made.take(large), undefined);
      await turn();
    }
    await wake(made);
    assert.equal(made.take(large.subarray(1)), undefined);
    assert.deepEqual(sent, []);
    const other = batches(() => false);
    await wake(other.made);
    assert.equal(other.made.take(large), undefined);
  });

  it('lets what comes in several turns share a batch while the thread has two, and forgets none of it', async () => {
    const { made, sent } = batches();
    await wake(made);
    const looked: (Promise<Found> | undefined)[] = [];
    for (let i = 0; i < 5; i++) {
      looked.push(made.take(large));
      await turn();
    }
    assert.deepEqual(
      sent.map(({ ends }) => ends.length),
      [1, 1],
    );
    made.finish({ batch: sent[0]!.id, found: [null] });
    assert.deepEqual(
      sent.map(({ ends }) => ends.length),
      [1, 1, 3],
    );
    made.finish({ batch: sent[1]!.id, found: [null] });
    made.finish({ batch: sent[2]!.id, found: [null, null, null] });
    assert.deepEqual(await all(looked), Array<Found>(5).fill(CLEAN));
    assert.equal(made.active, false);
  });

  it('puts what comes in one turn behind one another, and never over what is still searched', async () => {
    const { made, sent } = batches();
    await wake(made);
    const message = (n: number) => Buffer.alloc(MIN_BATCHED_BYTES + n, n);
    const first = [message(1), message(2)].map((bytes) => made.take(bytes));
    await turn();
    const second = made.take(message(3));
    assert.ok(second);
    made.finish({ batch: sent[0]!.id, found: [null, null] });
    assert.deepEqual(await all(first), [CLEAN, CLEAN]);
    const third = made.take(message(4));
    await turn();
    assert.deepEqual(sent.map(read), [
      [message(1), message(2)],
      [message(3), message(4)],
    ]);
    made.finish({ batch: sent[1]!.id, found: [null, null] });
    await all([second, third]);
    assert.equal(made.active, false);
    // Nothing is under way: the memory is free again.
    const fill = Array.from({ length: BATCHED_BYTES / MIN_BATCHED_BYTES }, () => made.take(large));
    assert.ok(fill.every((one) => one !== undefined));
    assert.equal(made.take(large), undefined);
  });

  it('searches here what the thread could not', async () => {
    const { made, sent, here } = batches();
    await wake(made);
    const both = [made.take(large), made.take(large)];
    await turn();
    made.finish({ batch: sent[0]!.id, found: [] });
    await all(both);
    assert.equal(here.length, 2);
  });
});

/** The way that answers take. */
function bound(inspector: Inspector): { readonly look: (bytes: Buffer) => Inspected | Promise<Inspected> } {
  return { look: (bytes) => inspector.look(bytes, WHERE) };
}
