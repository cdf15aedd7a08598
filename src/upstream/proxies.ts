/** Variables that name proxies, as curl reads them: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either case. */
export type ProxyEnvironment = Readonly<Record<string, string | undefined>>;

/** This machine is never asked for through a proxy. */
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };
const PROTOCOLS = new Set(['http:', 'https:', 'socks:', 'socks5:', 'socks5h:']);

/** The proxy on the way to a URL, or `undefined` for the direct way. Throws Error with what to do if the variable names no proxy. */
export function proxyFor(url: URL, environment: ProxyEnvironment): URL | undefined {
  const read = (name: string) => environment[name.toLowerCase()] ?? environment[name] ?? '';
  const named = read(url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY') || read('ALL_PROXY');
  if (named === '' || LOOPBACK.test(url.hostname) || isExempt(url, read('NO_PROXY'))) return undefined;
  const text = named.includes('://') ? named : `http://${named}`;
  const proxy = URL.canParse(text) ? new URL(text) : undefined;
  if (!proxy || !PROTOCOLS.has(proxy.protocol))
    throw new Error('The proxy that is set (http.proxy, or HTTP_PROXY and its kin) is no http, https or socks5 address.');
  if (proxy.protocol === 'socks5h:') proxy.protocol = 'socks5:';
  return proxy;
}

/** `NO_PROXY` as curl and most others read it: names with what is below them, with or without a leading dot or `*.`, ports, `*`. */
function isExempt(url: URL, list: string): boolean {
  const host = url.hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
  const port = url.port || DEFAULT_PORTS[url.protocol];
  return list
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const [, name = '', wantedPort] =
        /^\[?(.*?)\]?(?::(\d+))?$/.exec(entry.split(':').length > 2 && !entry.startsWith('[') ? `[${entry}]` : entry) ?? [];
      if (wantedPort !== undefined && wantedPort !== port) return false;
      const suffix = name
        .toLowerCase()
        .replace(/^\*?\./, '')
        .replace(/\.$/, '');
      return suffix !== '' && (host === suffix || host.endsWith(`.${suffix}`));
    });
}
