import { once } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo, Server as TcpServer } from 'node:net';
import { AuditLog } from '../../src/audit/auditLog.ts';
import { Checkpoints, newSigningKey } from '../../src/audit/checkpoints.ts';
import type { Sink } from '../../src/audit/export/sink.ts';
import { Stream } from '../../src/audit/export/stream.ts';
import type { Intent, Outcome } from '../../src/audit/record.ts';
import type { Database } from '../../src/store/database.ts';
import { intent, outcome } from '../unit/audit/samples.ts';
import { Bench } from './database.ts';
import { ManualClock } from './manualClock.ts';

/** A window’s record on a clock of its own, and exports of it. */
export class Recorder {
  readonly bench = new Bench();
  readonly clock = new ManualClock();
  readonly kept = new Map<string, string>();
  readonly #closing: (() => unknown)[] = [];
  db!: Database;
  checkpoints!: Checkpoints;
  log!: AuditLog;
  #serial = 0;

  async start(): Promise<void> {
    this.kept.set('signing-key', await newSigningKey());
    this.db = this.bench.window();
    this.checkpoints = this.checkpointsOn(this.db);
    this.log = new AuditLog(this.db, this.clock, this.checkpoints);
  }

  checkpointsOn(db: Database): Checkpoints {
    const keeper = {
      get: async (name: string) => this.kept.get(name),
      set: async (name: string, value: string) => void this.kept.set(name, value),
    };
    return new Checkpoints(db, keeper, this.clock);
  }

  async calls(count: number, of: Partial<Intent> = {}, end: Partial<Outcome> = {}): Promise<void> {
    for (let i = 0; i < count; i++) {
      const id = `x-${++this.#serial}`;
      await this.log.open(id, { ...intent, ...of, requestBytes: this.#serial });
      this.log.close(id, { ...outcome, ...end });
    }
    this.log.flush();
  }

  stream(sink: Sink, from: 'now' | 'start' = 'start', log = this.log): Stream {
    const stream = new Stream(this.db, log, sink, this.clock, { from });
    this.#closing.push(() => stream.dispose());
    return stream;
  }

  onClose(work: () => unknown): void {
    this.#closing.push(work);
  }

  async close(): Promise<void> {
    for (const work of this.#closing.reverse()) await work();
    this.bench.close();
  }
}

/** Makes a server listen on the loopback; resolves with its port. */
export async function listen(server: Server | TcpServer, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** The body of a request as text. */
export async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}
