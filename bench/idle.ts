import { Agent, type ClientRequest } from 'node:http';
import { begin, openSession, type HttpRoute } from './clients.ts';
import type { Parts } from './parts.ts';
import { KIB, printTable, type Target } from './report.ts';

/** The part of the sessions that is open before anything is counted, so that what all share is there. */
const FIRST_SHARE = 0.5;
/** Sessions that are opened at the same time. */
const AT_ONCE = 4;
/** Issue 3: memory of the tunnel's process for one idle session with an open stream. */
const MAX_SESSION_BYTES = 50 * KIB;

/** Sessions of one client; more are refused at some point. */
const SESSIONS_PER_CLIENT = 50;

/** Opens sessions that do nothing but listen, until there are `wanted` or one more is refused. */
class IdleSessions {
  readonly #parts: Parts;
  #client: Promise<HttpRoute> | undefined;
  #ofClient = 0;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  readonly #streams: ClientRequest[] = [];
  /** Why there are not more. */
  refused: string | undefined;
  #opening = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#streams.length;
  }

  async grow(wanted: number): Promise<void> {
    const opener = async (): Promise<void> => {
      while (this.#opening + this.#streams.length < wanted && this.refused === undefined) {
        this.#opening++;
        try {
          await this.#open();
        } catch (error) {
          this.refused ??= (error as Error).message;
        }
        this.#opening--;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, opener));
  }

  close(): void {
    for (const stream of this.#streams) stream.destroy();
    this.#agent.destroy();
  }

  async #open(): Promise<void> {
    if (this.#ofClient++ % SESSIONS_PER_CLIENT === 0) this.#client = this.#parts.newClient();
    const route = await this.#client!;
    const session = await openSession(route, this.#agent);
    const { request, response } = await begin(route, 'GET', session);
    if (response.statusCode !== 200) throw new Error(`a stream was answered with ${response.statusCode ?? 0}`);
    response.on('error', () => undefined).resume();
    this.#streams.push(request);
  }
}

/** Measures what a session costs the tunnel that does nothing but keep its stream open. */
export async function measureIdle(parts: Parts, wanted: number): Promise<Target[]> {
  const sessions = new IdleSessions(parts);
  const first = Math.floor(wanted * FIRST_SHARE);
  await sessions.grow(first);
  const before = await parts.tunnelState();
  const from = sessions.count;
  await sessions.grow(wanted);
  const after = await parts.tunnelState();
  const counted = sessions.count - from;
  sessions.close();
  console.log(`\nIdle legacy sessions with an open stream: ${counted} beyond the first ${from}\n`);
  if (sessions.refused !== undefined) console.log(`No more than ${sessions.count}: ${sessions.refused}.\n`);
  if (counted <= 0) return [{ name: `no session could be opened beyond the first ${from}`, met: false }];
  const each = { rss: (after.rss - before.rss) / counted, memory: (after.memory - before.memory) / counted };
  printTable(
    [
      ['memory of the tunnel', 'per session'],
      ['resident set', `${(each.rss / KIB).toFixed(1)} KB`],
      ['heap and external', `${(each.memory / KIB).toFixed(1)} KB`],
    ],
    1,
  );
  // The resident set is shown and not judged: it moves by tens of MB with what ran before, whatever the sessions hold.
  return [
    {
      name: `an idle session keeps ${(each.memory / KIB).toFixed(1)} KB of the tunnel's heap and external memory (below ${MAX_SESSION_BYTES / KIB} KB)`,
      met: each.memory < MAX_SESSION_BYTES,
    },
  ];
}
