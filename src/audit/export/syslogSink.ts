import { connect as connectTcp, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { connect as connectTls } from 'node:tls';
import type { StopSignal } from '../../common/stop.ts';
import { messageOf } from '../../common/errors.ts';
import { cefOf } from './cef.ts';
import type { AuditEvent } from './event.ts';
import { SinkError, type Sink } from './sink.ts';

export interface SyslogOptions {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** Without it the connection is not encrypted. */
  readonly tls?: {
    /** Certificates that vouch for the receiver, PEM, instead of those of the system. */
    readonly ca?: string;
    /** What this side shows (RFC 5425, 4.2). */
    readonly certificate?: { readonly cert: string; readonly key: string };
    /** Name in the receiver's certificate, if it is not the host. */
    readonly serverName?: string;
  };
  readonly version: string;
  /** Name of this machine in the messages. Default: what the system says. */
  readonly hostname?: string;
}

/** Facility 13, log audit (RFC 5424, table 1). */
const FACILITY = 13;
/** Severities of RFC 5424, table 2. */
const LEVEL = { notice: 5, warning: 4, info: 6 } as const;
const CONNECT_MS = 10_000;

/**
 * CEF in syslog messages (RFC 5424) over TCP, with the length before each (octet counting, RFC 6587, 3.4.1 and RFC 5425, 4.3), with TLS or
 * without. Syslog has no receipts: what a connection took with it is sent again when the next one is made.
 */
export class SyslogSink implements Sink {
  readonly id: string;
  readonly #options: SyslogOptions;
  readonly #hostname: string;
  #socket: Socket | undefined;
  /** The delivery of which it is not sure that it arrived. */
  #unconfirmed: Buffer | undefined;

  constructor(options: SyslogOptions) {
    this.id = options.id;
    this.#options = options;
    this.#hostname = printable(options.hostname ?? hostname(), 255);
  }

  async deliver(events: readonly AuditEvent[], signal: StopSignal): Promise<void> {
    const fresh = Buffer.concat(events.map((event) => frame(this.#messageOf(event))));
    const broken = this.#socket === undefined || this.#socket.destroyed || !this.#socket.writable;
    const socket = broken ? await this.#connect(signal) : (this.#socket as Socket);
    const bytes = broken && this.#unconfirmed ? Buffer.concat([this.#unconfirmed, fresh]) : fresh;
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error | null) => {
        socket.off('error', done);
        socket.off('close', closed);
        signal.removeEventListener('abort', stop);
        if (error) {
          socket.destroy();
          reject(new SinkError(`The syslog receiver did not take it: ${error.message}.`, true, { cause: error }));
        } else resolve();
      };
      const closed = () => done(new Error('it closed the connection'));
      const stop = () => done(new Error('it took too long'));
      socket.once('error', done);
      socket.once('close', closed);
      signal.addEventListener('abort', stop);
      socket.write(bytes, done);
    });
    this.#unconfirmed = fresh;
  }

  close(): void {
    this.#socket?.end();
    this.#socket = undefined;
  }

  /** An event as a syslog message, without the frame. */
  #messageOf(event: AuditEvent): string {
    const calm = event.kind === 'act' || (event.intent.effect === 'allow' && event.outcome?.result === 'ok');
    const level = event.kind === 'call' && (event.outcome?.findings ?? 0) > 0 ? LEVEL.warning : calm ? LEVEL.info : LEVEL.notice;
    const time = new Date(event.kind === 'call' ? (event.endedAt ?? event.at) : event.at).toISOString();
    const id = event.kind === 'call' ? 'call' : printable(event.act.act, 32);
    return `<${FACILITY * 8 + level}>1 ${time} ${this.#hostname} culvert - ${id} - ${cefOf(event, this.#options.version)}`;
  }

  #connect(signal: StopSignal): Promise<Socket> {
    const { host, port, tls } = this.#options;
    return new Promise((resolve, reject) => {
      const socket = tls
        ? connectTls({
            host,
            port,
            minVersion: 'TLSv1.2',
            ...(tls.ca === undefined ? {} : { ca: tls.ca }),
            ...(tls.certificate ? { cert: tls.certificate.cert, key: tls.certificate.key } : {}),
            ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
          })
        : connectTcp({ host, port });
      const fail = (error: unknown) => {
        signal.removeEventListener('abort', stop);
        socket.destroy();
        reject(new SinkError(`${host}:${port} can’t be reached: ${messageOf(error)}.`, true, { cause: error }));
      };
      const stop = () => fail(new Error('it took too long'));
      signal.addEventListener('abort', stop);
      socket.setTimeout(CONNECT_MS, () => fail(new Error('no answer')));
      socket.once('error', fail);
      socket.once(tls ? 'secureConnect' : 'connect', () => {
        signal.removeEventListener('abort', stop);
        socket.setTimeout(0);
        socket.setKeepAlive(true, 30_000);
        socket.off('error', fail);
        // Between deliveries: the next one connects again.
        socket.on('error', () => socket.destroy());
        socket.on('end', () => socket.destroy());
        // Receivers say nothing; unread bytes would keep the end from being noticed.
        socket.resume();
        socket.unref();
        this.#socket = socket;
        resolve(socket);
      });
    });
  }
}

/** Octet counting: `MSG-LEN SP SYSLOG-MSG`. */
export function frame(message: string): Buffer {
  const bytes = Buffer.from(message, 'utf8');
  return Buffer.concat([Buffer.from(`${bytes.length} `, 'latin1'), bytes]);
}

/** PRINTUSASCII of RFC 5424, or the nil value. */
function printable(text: string, length: number): string {
  return text.replace(/[^\x21-\x7e]/g, '').slice(0, length) || '-';
}
