import { createHmac, timingSafeEqual } from 'node:crypto';
import { EnvHttpProxyAgent } from 'undici';
import type { StopSignal } from '../../common/stop.ts';
import { messageOf } from '../../common/errors.ts';
import type { AuditEvent } from './event.ts';
import { ocsfOf } from './ocsf.ts';
import { SinkError, type Sink } from './sink.ts';

/** Header with time and signature: `t=1767323045,v1=<64 hex digits>`. */
export const WEBHOOK_SIGNATURE_HEADER = 'culvert-signature';
/** A receiver should refuse what was signed longer ago than this, seconds: somebody else may have kept it and send it again. */
export const WEBHOOK_TOLERANCE_S = 300;

/** How long the receiver may take to answer, milliseconds. */
const ANSWER_MS = 20_000;

export interface WebhookOptions {
  readonly id: string;
  readonly url: string;
  /** The key of the signatures, asked for at each delivery and not kept. Without it there is no signature. */
  secret?(): Promise<string>;
  /** Further headers, such as an authorization, asked for at each delivery and not kept. */
  headers?(): Promise<Readonly<Record<string, string>>>;
  /** Certificates that vouch for the receiver, PEM, instead of those of the system. */
  readonly ca?: string;
  /** Proxies on the way out: variables as curl reads them. This machine is never asked for through one. */
  readonly proxies?: Readonly<Record<string, string | undefined>>;
  readonly form: 'culvert' | 'ocsf';
  readonly version: string;
  /** Seconds since the epoch. */
  now(): number;
}

/**
 * Sends events as one JSON object, `{ "events": [ … ] }`, by POST, signed: HMAC-SHA-256 under the shared secret over the time in seconds, a
 * full stop, and the body. An answer of 2xx is the receipt. Events come at least once; each has an `id` that stays the same.
 */
export class WebhookSink implements Sink {
  readonly id: string;
  readonly #options: WebhookOptions;
  readonly #agent: EnvHttpProxyAgent;

  constructor(options: WebhookOptions) {
    this.id = options.id;
    this.#options = options;
    const { ca, proxies = {} } = options;
    const read = (name: string) => proxies[name.toLowerCase()] ?? proxies[name] ?? '';
    const tls = ca === undefined ? {} : { connect: { ca }, requestTls: { ca } };
    this.#agent = new EnvHttpProxyAgent({
      ...tls,
      httpProxy: read('HTTP_PROXY'),
      httpsProxy: read('HTTPS_PROXY'),
      noProxy: ['localhost', '127.0.0.1', '[::1]', read('NO_PROXY')].filter((part) => part !== '').join(','),
      headersTimeout: ANSWER_MS,
      bodyTimeout: ANSWER_MS,
    });
  }

  async deliver(events: readonly AuditEvent[], signal: StopSignal): Promise<void> {
    const { url, form, version } = this.#options;
    const body = JSON.stringify({ events: form === 'ocsf' ? events.map((event) => ocsfOf(event, version)) : events });
    const time = Math.floor(this.#options.now());
    const key = await this.#options.secret?.();
    const given = await this.#options.headers?.();
    const stop = new AbortController();
    const abort = () => stop.abort();
    signal.addEventListener('abort', abort);
    let status: number;
    try {
      // Redirects are not followed: what is sent is for this receiver and no other.
      const { origin, pathname, search } = new URL(url);
      const response = await this.#agent.request({
        origin,
        path: pathname + search,
        method: 'POST',
        headers: {
          ...given,
          'content-type': 'application/json',
          'user-agent': `culvert/${version}`,
          ...(key === undefined ? {} : { [WEBHOOK_SIGNATURE_HEADER]: signatureOf(key, time, body) }),
        },
        body,
        signal: stop.signal,
      });
      status = response.statusCode;
      await response.body.dump();
    } catch (error) {
      throw new SinkError(`The webhook can’t be reached: ${messageOf(error)}.`, true, { cause: error });
    } finally {
      signal.removeEventListener('abort', abort);
    }
    if (status >= 200 && status < 300) return;
    throw new SinkError(`The webhook answered with HTTP ${status}.`, status === 408 || status === 429 || status >= 500);
  }

  close(): void {
    void this.#agent.destroy().catch(() => undefined);
  }
}

/** Value of {@link WEBHOOK_SIGNATURE_HEADER}. `time` is in seconds since the epoch. */
export function signatureOf(secret: string, time: number, body: string): string {
  return `t=${time},v1=${createHmac('sha256', secret).update(`${time}.${body}`).digest('hex')}`;
}

/** What a receiver does: true if the body was signed under this secret not longer ago than {@link WEBHOOK_TOLERANCE_S}. */
export function isSigned(secret: string, header: string, body: string, now: number): boolean {
  const match = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(header);
  const time = Number(match?.[1]);
  if (!match || Math.abs(now - time) > WEBHOOK_TOLERANCE_S) return false;
  return timingSafeEqual(Buffer.from(signatureOf(secret, time, body)), Buffer.from(header));
}
