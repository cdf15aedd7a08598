import { Agent, type IncomingMessage } from 'node:http';
import { begin, openSession, type HttpRoute } from './clients.ts';
import { WAYS, type Parts, type Way } from './parts.ts';
import { median, MIB, percentile, printTable, rotated, type Target } from './report.ts';

/** Streams per way and round, and bytes of the large one. */
const STREAMS_PER_ROUND = 40;
const LARGE_BYTES = 50 * MIB;
/** A large stream takes long enough to need no more than this many of each. */
const MAX_LARGE_ROUNDS = 5;
const WARM_UP_STREAMS = 300;
/** Issue 3: the first event through the tunnel against the same through the do-nothing proxy, milliseconds. */
const MAX_LATER_MS = 1;

/** A session on one of the ways. */
interface Door {
  readonly route: HttpRoute;
  readonly agent: Agent;
  readonly session: string;
}

/** Calls for a stream and resolves with its head. */
async function open({ route, agent, session }: Door, args: Readonly<Record<string, number>>): Promise<IncomingMessage> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'fetch', arguments: args } });
  const { response } = await begin(route, 'POST', session, body, agent);
  const type = response.headers['content-type'];
  if (response.statusCode !== 200 || type !== 'text/event-stream')
    throw new Error(`no stream but ${response.statusCode ?? 0} ${type ?? ''}`);
  return response;
}

/** Milliseconds from the call to the last byte of the first event. */
async function firstEvent(door: Door): Promise<number> {
  const from = performance.now();
  const response = await open(door, { events: 1, bytes: 200 });
  let at: number | undefined;
  let seen = '';
  for await (const chunk of response) {
    if (at !== undefined) continue;
    seen += (chunk as Buffer).toString('latin1');
    if (seen.includes('\n\n')) at = performance.now();
  }
  if (at === undefined) throw new Error('A stream ended without an event.');
  return at - from;
}

/** MB per second of a stream of `bytes`. */
async function throughput(door: Door, bytes: number): Promise<number> {
  const eventBytes = 64 * 1024;
  const from = performance.now();
  const response = await open(door, { events: Math.ceil(bytes / eventBytes), bytes: eventBytes });
  let got = 0;
  for await (const chunk of response) got += (chunk as Buffer).length;
  if (got < bytes) throw new Error(`A stream has ${got} bytes instead of ${bytes}.`);
  return got / MIB / ((performance.now() - from) / 1_000);
}

/** Measures how soon a stream begins and how fast it is, on each way, in interleaved rounds. */
export async function measureStreams(parts: Parts, rounds: number, largeBytes = LARGE_BYTES): Promise<Target[]> {
  const doors = new Map<Way, Door>();
  for (const way of WAYS) {
    const agent = new Agent({ keepAlive: true });
    doors.set(way, { route: parts.route(way), agent, session: await openSession(parts.route(way), agent) });
  }
  const on = (way: Way): Door => doors.get(way)!;
  const first = new Map(WAYS.map((way): [Way, number[]] => [way, []]));
  const rates = new Map(WAYS.map((way): [Way, number[]] => [way, []]));
  for (const way of WAYS) for (let i = 0; i < WARM_UP_STREAMS; i++) await firstEvent(on(way));
  for (let round = 0; round < rounds; round++)
    for (const way of rotated(WAYS, round)) for (let i = 0; i < STREAMS_PER_ROUND; i++) first.get(way)!.push(await firstEvent(on(way)));
  for (const way of WAYS) await throughput(on(way), largeBytes);
  for (let round = 0; round < Math.min(rounds, MAX_LARGE_ROUNDS); round++)
    for (const way of rotated(WAYS, round)) rates.get(way)!.push(await throughput(on(way), largeBytes));
  for (const { agent } of doors.values()) agent.destroy();

  const p50 = (way: Way): number => median(first.get(way)!);
  const rate = (way: Way): number => median(rates.get(way)!);
  console.log(`\nStreams: the first event, and ${largeBytes / MIB} MB in one stream\n`);
  printTable(
    [
      ['way', 'first event p50 ms', 'p99 ms', 'later than proxy', 'MB/s', '/ proxy'],
      ...WAYS.map((way) => [
        way,
        p50(way).toFixed(3),
        percentile(first.get(way)!, 0.99).toFixed(3),
        way === 'tunnel' ? (p50(way) - p50('proxy')).toFixed(3) : '',
        rate(way).toFixed(0),
        way === 'tunnel' ? `${(rate(way) / rate('proxy')).toFixed(2)}x` : '',
      ]),
    ],
    1,
  );
  const later = p50('tunnel') - p50('proxy');
  return [
    {
      name: `the first event of a stream comes ${later.toFixed(3)} ms later than through the do-nothing proxy (p50, at most ${MAX_LATER_MS} ms)`,
      met: later <= MAX_LATER_MS,
    },
  ];
}
