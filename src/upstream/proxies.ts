import net from 'node:net';
import { UpstreamError } from '../common/errors.ts';
import { bytesOf, isLocalhost } from './addresses.ts';
import { settled } from './attempt.ts';
import { MAX_PROXY_ANSWER_BYTES } from './limits.ts';

/** Variables that name proxies, as curl reads them: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either case. */
export type ProxyEnvironment = Readonly<Record<string, string | undefined>>;

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };
const PROXY_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443, 'socks:': 1080, 'socks5:': 1080 };
const PROTOCOLS = new Set(['http:', 'https:', 'socks:', 'socks5:', 'socks5h:']);

/**
 * The proxy on the way to a URL, or `undefined` for the direct way; this machine is never asked for through a proxy. Throws UpstreamError
 * with what to do if the variable names no proxy.
 */
export function proxyFor(url: URL, environment: ProxyEnvironment): Proxy | undefined {
  const read = (name: string) => environment[name.toLowerCase()] ?? environment[name] ?? '';
  const named = read(url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY') || read('ALL_PROXY');
  if (named === '' || isThisMachine(url) || isExempt(url, read('NO_PROXY'))) return undefined;
  const text = named.includes('://') ? named : `http://${named}`;
  const proxy = URL.canParse(text) ? new URL(text) : undefined;
  if (!proxy || !PROTOCOLS.has(proxy.protocol) || proxy.hostname === '')
    throw new UpstreamError(
      'CULVERT_UPSTREAM_PROXY',
      'proxy',
      'The proxy that is set (http.proxy, or HTTP_PROXY and its kin) is no http, https or socks5 address.',
    );
  return new Proxy(proxy);
}

function isThisMachine({ hostname }: URL): boolean {
  return isLocalhost(hostname) || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/**
 * `NO_PROXY` as curl reads it: names with what is below them, with or without a leading dot; addresses and their ranges (`10.0.0.0/8`); `*`.
 * As others read it, too: `*.` in front, a port at the end.
 */
function isExempt(url: URL, list: string): boolean {
  const host = bare(url.hostname);
  const family = net.isIP(host);
  const port = url.port || DEFAULT_PORTS[url.protocol];
  return list
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const [, name = '', bits, wantedPort] = /^(\[[^\]]*\]|[^/]*?)(?:\/(\d{1,3}))?(?::(\d+))?$/.exec(bracketed(entry)) ?? [];
      if (wantedPort !== undefined && wantedPort !== port) return false;
      const suffix = bare(name).replace(/^\*?\./, '');
      if (family !== 0) return covers(suffix, bits, host, family);
      return bits === undefined && suffix !== '' && (host === suffix || host.endsWith(`.${suffix}`));
    });
}

/** An address of IPv6 without brackets gets them, so that its colons are not taken for a port. */
function bracketed(entry: string): string {
  const [address = '', ...rest] = entry.split('/');
  return net.isIPv6(address) ? [`[${address}]`, ...rest].join('/') : entry;
}

function covers(network: string, bits: string | undefined, host: string, family: number): boolean {
  if (net.isIP(network) !== family) return false;
  const size = family === 4 ? 32 : 128;
  const prefix = Number(bits ?? size);
  if (prefix > size) return false;
  const kind = family === 4 ? 'ipv4' : 'ipv6';
  const range = new net.BlockList();
  range.addSubnet(network, prefix, kind);
  return range.check(host, kind);
}

function bare(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
}

/** A proxy, and how to get through it. Its password appears nowhere but on the connection to it. */
export class Proxy {
  readonly #url: URL;

  constructor(url: URL) {
    this.#url = url;
  }

  /** For messages: host and port, nothing else. */
  get place(): string {
    return `${this.#url.hostname}:${this.port}`;
  }

  get host(): string {
    return bare(this.#url.hostname);
  }

  get port(): number {
    return this.#url.port === '' ? (PROXY_PORTS[this.#url.protocol] ?? 1080) : Number(this.#url.port);
  }

  /** Whether the connection to the proxy itself is made with TLS. */
  get secure(): boolean {
    return this.#url.protocol === 'https:';
  }

  /** Whether plain `http:` goes through it as requests with a whole URL (RFC 9112, 3.2.2), not through a tunnel. */
  get takesRequests(): boolean {
    return this.#url.protocol === 'http:' || this.secure;
  }

  /** Value of `Proxy-Authorization` (RFC 7617), if the proxy's URL holds a user. */
  get authorization(): string | undefined {
    const [user, password] = this.#user();
    return user === '' && password === '' ? undefined : `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  }

  /** Makes the connection to the proxy one to a host behind it. Throws UpstreamError of the leg `proxy`. `place`: the server, for messages. */
  async tunnel(socket: net.Socket, host: string, port: number, place: string): Promise<void> {
    try {
      await (this.takesRequests ? this.#connect(socket, host, port, place) : this.#socks(socket, host, port, place));
    } catch (error) {
      socket.destroy();
      if (error instanceof UpstreamError) throw error;
      throw new UpstreamError(
        'CULVERT_UPSTREAM_PROXY_BROKE',
        'proxy',
        `The proxy ${this.place} closed the connection instead of opening a way to ${place}. Check the proxy.`,
        { cause: error },
      );
    }
  }

  /** That the proxy wants another user or password, or any. */
  refusedUser(): UpstreamError {
    return new UpstreamError(
      'CULVERT_UPSTREAM_PROXY_AUTH',
      'proxy',
      this.authorization === undefined
        ? `The proxy ${this.place} wants a user name and a password. Put them into its address: http://user:password@${this.place} (http.proxy, or HTTPS_PROXY and its kin).`
        : `The proxy ${this.place} refused the user name and password in its address (http.proxy, or HTTPS_PROXY and its kin).`,
    );
  }

  /** HTTP CONNECT (RFC 9110, 9.3.6). */
  async #connect(socket: net.Socket, host: string, port: number, place: string): Promise<void> {
    const target = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
    const user = this.authorization === undefined ? '' : `Proxy-Authorization: ${this.authorization}\r\n`;
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${user}\r\n`);
    let head = Buffer.alloc(0);
    let end = -1;
    while (end < 0) {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) {
        await settled(socket, 'readable');
        continue;
      }
      head = Buffer.concat([head, chunk]);
      end = head.indexOf('\r\n\r\n');
      if (head.length > MAX_PROXY_ANSWER_BYTES && end < 0) throw this.#notSpoken(place);
    }
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head.toString('latin1'))?.[1] ?? 0);
    if (status === 0) throw this.#notSpoken(place);
    if (status === 407) throw this.refusedUser();
    if (status < 200 || status > 299) throw this.#refused(place, status);
    // The server speaks after us; anything that is there already is the proxy's own and would be taken for the server's.
    if (head.length > end + 4) throw this.#notSpoken(place);
  }

  /** SOCKS 5 (RFC 1928) with user and password (RFC 1929). The proxy resolves the name. */
  async #socks(socket: net.Socket, host: string, port: number, place: string): Promise<void> {
    const [user, password] = this.#user().map((text) => Buffer.from(text));
    const authenticates = user !== undefined && password !== undefined && user.length + password.length > 0;
    socket.write(Buffer.from(authenticates ? [5, 2, 0, 2] : [5, 1, 0]));
    const [version, method] = await take(socket, 2);
    if (version !== 5) throw this.#notSpoken(place);
    if (method === 2 && authenticates) {
      if (user.length > 255 || password.length > 255) throw this.refusedUser();
      socket.write(Buffer.concat([Buffer.from([1, user.length]), user, Buffer.from([password.length]), password]));
      const [, refused] = await take(socket, 2);
      if (refused !== 0) throw this.refusedUser();
    } else if (method !== 0) {
      throw this.refusedUser();
    }
    const name = Buffer.from(host);
    const address =
      net.isIP(host) === 0
        ? Buffer.concat([Buffer.from([3, name.length]), name])
        : Buffer.concat([Buffer.from([net.isIPv4(host) ? 1 : 4]), bytesOf(host)]);
    socket.write(Buffer.concat([Buffer.from([5, 1, 0]), address, Buffer.from([port >> 8, port & 0xff])]));
    const [again, reply = 1, , type] = await take(socket, 4);
    if (again !== 5) throw this.#notSpoken(place);
    if (reply !== 0) throw this.#refusedSocks(place, reply);
    const length = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? ((await take(socket, 1))[0] ?? 0) : -1;
    if (length < 0) throw this.#notSpoken(place);
    await take(socket, length + 2);
  }

  #refused(place: string, status: number): UpstreamError {
    const why =
      status === 403 || status === 405
        ? `does not let connections to ${place} through (HTTP ${status}). Ask whoever runs the proxy, or except the host (http.noProxy, NO_PROXY)`
        : status === 502 || status === 503 || status === 504
          ? `can’t reach ${place} (HTTP ${status}). Check the URL and that the server is running`
          : `opens no way to ${place} (HTTP ${status}). Check the proxy settings`;
    return new UpstreamError('CULVERT_UPSTREAM_PROXY_REFUSED', 'proxy', `The proxy ${this.place} ${why}.`);
  }

  #refusedSocks(place: string, reply: number): UpstreamError {
    // RFC 1928, 6.
    const why =
      reply === 2
        ? `does not let connections to ${place} through. Ask whoever runs the proxy, or except the host (http.noProxy, NO_PROXY)`
        : reply === 3 || reply === 4 || reply === 5 || reply === 6
          ? `can’t reach ${place} (${['the network', 'the host', 'nothing listens there', 'too far'][reply - 3] ?? ''}). Check the URL and that the server is running`
          : `opens no way to ${place} (SOCKS reply ${reply}). Check the proxy settings`;
    return new UpstreamError('CULVERT_UPSTREAM_PROXY_REFUSED', 'proxy', `The proxy ${this.place} ${why}.`);
  }

  #notSpoken(place: string): UpstreamError {
    return new UpstreamError(
      'CULVERT_UPSTREAM_PROXY',
      'proxy',
      `What listens at ${this.place} does not answer as ${this.takesRequests ? 'an HTTP' : 'a SOCKS 5'} proxy does, so there is no way to ${place}. Check the proxy settings (http.proxy, or HTTPS_PROXY and its kin).`,
    );
  }

  #user(): [user: string, password: string] {
    return [decoded(this.#url.username), decoded(this.#url.password)];
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A bare % in a password that nobody encoded.
    return text;
  }
}

/** Exactly so many bytes, not one more. */
async function take(socket: net.Socket, size: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(size) as Buffer | null;
    if (bytes?.length === size) return bytes;
    if (bytes !== null) throw new Error('the connection closed');
    await settled(socket, 'readable');
  }
}
