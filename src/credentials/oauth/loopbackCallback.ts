import { randomBytes, timingSafeEqual } from 'node:crypto';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Disposable } from '../../common/disposable.ts';

/** Longest request line that is looked at, characters; Node’s own limit on headers is 16 KiB. */
const MAX_TARGET_CHARACTERS = 12 * 1024;
/** How long a browser may take for its request, milliseconds. */
const REQUEST_TIMEOUT_MS = 10_000;

/**
 * Where the browser comes back to (RFC 8252, 7.3): a port of this machine’s own, for one answer with one `state`, on a path that nobody can
 * guess. Whatever else arrives is turned away and changes nothing.
 */
export class LoopbackCallback implements Disposable {
  readonly redirectUri: string;
  readonly #server: http.Server;
  readonly #path: string;
  #state: string | undefined;
  #deliver: ((parameters: URLSearchParams) => void) | undefined;

  private constructor(server: http.Server, path: string) {
    this.#server = server;
    this.#path = path;
    this.redirectUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#handle(request, response));
  }

  /** Listens. `path`: where a client’s registered redirect URI fixes it; `port`: likewise. */
  static async open({
    path = `/callback/${randomBytes(16).toString('base64url')}`,
    port = 0,
  }: { readonly path?: string; readonly port?: number } = {}): Promise<LoopbackCallback> {
    const server = http.createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS, keepAlive: false });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.unref();
    return new LoopbackCallback(server, path);
  }

  /** The parameters of the one answer with this `state`. Never rejects; nothing comes after {@link dispose}. */
  answer(state: string): Promise<URLSearchParams> {
    this.#state = state;
    return new Promise((resolve) => (this.#deliver = resolve));
  }

  dispose(): void {
    this.#deliver = undefined;
    this.#server.close();
    this.#server.closeIdleConnections();
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    request.resume();
    const parameters = this.#parametersOf(request);
    const deliver = this.#deliver;
    if (!parameters || !deliver) {
      page(response, 404, 'There is nothing here.');
      return;
    }
    this.#deliver = undefined;
    page(response, 200, 'Culvert has what it needs. You can close this tab and go back to the editor.');
    response.once('close', () => this.dispose());
    deliver(parameters);
  }

  #parametersOf({ method, url = '', headers }: IncomingMessage): URLSearchParams | undefined {
    const { host } = new URL(this.redirectUri);
    // A page of another name that was made to lead here (DNS rebinding) sends its own Host.
    if (method !== 'GET' || headers.host !== host || url.length > MAX_TARGET_CHARACTERS || !url.startsWith('/')) return undefined;
    const target = new URL(url, this.redirectUri);
    if (target.pathname !== this.#path || this.#state === undefined) return undefined;
    const [state, ...others] = target.searchParams.getAll('state');
    if (state === undefined || others.length > 0 || !same(state, this.#state)) return undefined;
    return target.searchParams;
  }
}

function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

function page(response: ServerResponse, status: number, text: string): void {
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Culvert</title><style>body{font:16px/1.5 system-ui,sans-serif;margin:20vh auto;max-width:28em;padding:0 1em;color-scheme:light dark}</style><h1>Culvert</h1><p>${text}</p></html>`;
  response
    .writeHead(status, {
      'content-type': 'text/html; charset=utf-8',
      'content-length': Buffer.byteLength(html),
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      connection: 'close',
    })
    .end(html);
}
