import dns from 'node:dns';
import net from 'node:net';
import { UpstreamError } from '../common/errors.ts';

/**
 * What an address is good for. `metadata`: the credentials service of a cloud machine, which nobody means when they name a server.
 * `reserved`: documentation, discard, future use.
 */
export type AddressKind = 'public' | 'private' | 'loopback' | 'link-local' | 'metadata' | 'multicast' | 'reserved';

/**
 * Whether a name may lead to an address of this kind. `all`: the kinds of everything the name resolved to this time. Asked once per address,
 * each time a connection is opened.
 */
export type AddressRule = (kind: AddressKind, all: readonly AddressKind[]) => boolean;

/** As `dns.lookup` with `all`. */
export type Resolve = (
  hostname: string,
  options: dns.LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]) => void,
) => void;

const V4: readonly (readonly [prefix: string, bits: number, kind: AddressKind])[] = [
  ['169.254.169.254', 32, 'metadata'],
  ['169.254.170.0', 24, 'metadata'], // containers on AWS
  ['100.100.100.200', 32, 'metadata'], // Alibaba
  ['192.0.0.192', 32, 'metadata'], // Oracle
  ['168.63.129.16', 32, 'metadata'], // Azure
  // Reaches this machine on most systems.
  ['0.0.0.0', 8, 'loopback'],
  ['127.0.0.0', 8, 'loopback'],
  ['10.0.0.0', 8, 'private'],
  ['100.64.0.0', 10, 'private'],
  ['172.16.0.0', 12, 'private'],
  ['192.168.0.0', 16, 'private'],
  // For benchmarks (RFC 2544); some VPN clients answer every name with one of them.
  ['198.18.0.0', 15, 'private'],
  ['169.254.0.0', 16, 'link-local'],
  ['192.0.0.0', 24, 'reserved'],
  ['192.0.2.0', 24, 'reserved'],
  ['192.88.99.0', 24, 'reserved'],
  ['198.51.100.0', 24, 'reserved'],
  ['203.0.113.0', 24, 'reserved'],
  ['224.0.0.0', 4, 'multicast'],
  ['240.0.0.0', 4, 'reserved'],
];
const V6: readonly (readonly [prefix: string, bits: number, kind: AddressKind])[] = [
  ['fd00:ec2::', 32, 'metadata'], // AWS
  ['fd20:ce::254', 128, 'metadata'], // Google
  ['::', 128, 'loopback'],
  ['::1', 128, 'loopback'],
  ['fe80::', 10, 'link-local'],
  ['fc00::', 7, 'private'],
  ['fec0::', 10, 'private'],
  ['64:ff9b:1::', 48, 'private'],
  ['ff00::', 8, 'multicast'],
  ['100::', 64, 'reserved'],
  ['2001::', 32, 'reserved'], // Teredo: carries an address of IPv4 in a disguise
  ['2001:db8::', 32, 'reserved'],
  ['3fff::', 20, 'reserved'],
];
/** Forms of IPv6 that carry an address of IPv4 (RFC 4291 2.5.5, RFC 6052, RFC 3056): where its four bytes begin. */
const EMBEDDED: readonly (readonly [prefix: string, bits: number, at: number])[] = [
  ['::ffff:0:0', 96, 12],
  ['::ffff:0:0:0', 96, 12],
  ['::', 96, 12],
  ['64:ff9b::', 96, 12],
  ['2002::', 16, 2],
];

const ranges4 = V4.map(([prefix, bits, kind]) => ({ bytes: bytesOf(prefix), bits, kind }));
const ranges6 = V6.map(([prefix, bits, kind]) => ({ bytes: bytesOf(prefix), bits, kind }));
const embedded = EMBEDDED.map(([prefix, bits, at]) => ({ bytes: bytesOf(prefix), bits, at }));

/** What an address is good for (IANA special-purpose registries; RFC 6890). Text that is no address counts as `reserved`. */
export function kindOf(address: string): AddressKind {
  const bytes = bytesOf(address);
  if (bytes.length === 4) return ranges4.find((range) => begins(bytes, range))?.kind ?? 'public';
  if (bytes.length !== 16) return 'reserved';
  const exact = ranges6.find((range) => begins(bytes, range));
  if (exact) return exact.kind;
  const carrier = embedded.find((range) => begins(bytes, range));
  return carrier ? kindOf(bytes.subarray(carrier.at, carrier.at + 4).join('.')) : 'public';
}

/** Only what the whole Internet reaches: for addresses that a server names, never the user (PROTOCOL.md 5). */
export const publicOnly: AddressRule = (kind) => kind === 'public';

/** Ends of names that nobody can register, so that no stranger decides where they lead. */
const LOCAL_SUFFIX = /\.(local|localdomain|internal|intranet|lan|home|corp|private|test|home\.arpa)$/;

/**
 * Where the name in the URL of a configured server may lead. The user chose the name, not what it resolves to: whoever holds the name could
 * send us, and the credential, to a service that only this machine or its network reaches (DNS rebinding).
 *
 * - An address in the URL: the user said so. Nothing is resolved, so no rule is asked.
 * - `localhost` and names below it: only this machine (RFC 6761, 6.3).
 * - Names that only a local network gives out (one label, `.local`, `.internal`, `.lan`, `.home.arpa` …): anything but metadata and multicast.
 * - All other names: public addresses. Never this machine, its link, metadata or multicast. Private networks, since a company's own servers
 *   have public names, if `proven` (whoever answers shows a certificate for the name, which a stranger's target can't), or if the name was
 *   private from the first connection on.
 */
export function configuredRule(hostname: string, proven: boolean): AddressRule {
  const name = plainName(hostname);
  if (isLocalhost(name)) return (kind) => kind === 'loopback';
  if (isLocal(name)) return (kind) => kind !== 'metadata' && kind !== 'multicast';
  let began: 'private' | 'public' | undefined;
  return (kind, all) => {
    began ??= all.includes('private') ? 'private' : 'public';
    return kind === 'public' || (kind === 'private' && (proven || began === 'private'));
  };
}

function isLocal(name: string): boolean {
  return !name.includes('.') || LOCAL_SUFFIX.test(name);
}

/** Whether a name always means this machine. */
export function isLocalhost(hostname: string): boolean {
  const name = plainName(hostname);
  return name === 'localhost' || name.endsWith('.localhost');
}

/**
 * A `lookup` for `net.connect` that gives only addresses that `allow` lets through: what was checked is what is connected to. If nothing is
 * left it fails with an UpstreamError of the leg `resolve`. An address in place of a name never comes here; ask {@link refuseHost} too.
 */
export function guardedLookup({
  allow,
  resolve = dns.lookup,
}: {
  readonly allow: AddressRule;
  readonly resolve?: Resolve;
}): net.LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) {
        callback(error, [], 0);
        return;
      }
      const kinds = addresses.map(({ address }) => kindOf(address));
      const good = addresses.filter((_address, i) => allow(kinds[i] ?? 'reserved', kinds));
      const [first] = good;
      if (!first) callback(refused(hostname, addresses[0]?.address ?? '', kinds[0] ?? 'reserved'), [], 0);
      else if (options.all === true) callback(null, good);
      else callback(null, first.address, first.family);
    });
  };
}

/**
 * Why the host of a URL can't be connected to under `allow`, as far as it shows: an address, or a name that only this machine or a local
 * network gives out, which a proxy would resolve out of our sight. `undefined` if it can, or only a lookup will tell.
 */
export function refuseHost(hostname: string, allow: AddressRule): UpstreamError | undefined {
  const host = plainName(hostname);
  if (net.isIP(host) === 0 && !isLocalhost(host) && !isLocal(host)) return undefined;
  const kind = net.isIP(host) !== 0 ? kindOf(host) : isLocalhost(host) ? 'loopback' : 'private';
  return allow(kind, [kind]) ? undefined : refused(host, host, kind);
}

const KIND_WORDS: Readonly<Record<AddressKind, string>> = {
  public: 'a public address',
  private: 'an address of a private network',
  loopback: 'an address of this machine',
  'link-local': 'an address of the local link',
  metadata: 'the address of a cloud’s metadata service',
  multicast: 'a multicast address',
  reserved: 'an address that is not for servers',
};

function refused(hostname: string, address: string, kind: AddressKind): UpstreamError {
  if (address === '')
    return new UpstreamError('CULVERT_UPSTREAM_NOT_FOUND', 'resolve', `There is no host ${hostname}. Check the URL and the network.`);
  return new UpstreamError(
    'CULVERT_UPSTREAM_ADDRESS',
    'resolve',
    hostname === address
      ? `${address} is ${KIND_WORDS[kind]}; nothing is sent there.`
      : `${hostname} leads to ${address}, ${KIND_WORDS[kind]}, where a name like this must not lead (DNS rebinding). Nothing was sent. If that is where the server is, put the address itself into its URL with “Culvert: Edit Server…”.`,
  );
}

function plainName(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
}

function begins(address: Uint8Array, { bytes, bits }: { readonly bytes: Uint8Array; readonly bits: number }): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (address[i] !== bytes[i]) return false;
  const mask = 0xff & ~(0xff >> (bits & 7));
  return mask === 0 || ((address[whole] ?? 0) & mask) === ((bytes[whole] ?? 0) & mask);
}

/** Four or sixteen bytes of an address, none if it is no address. */
export function bytesOf(address: string): Uint8Array {
  const text = address.replace(/%.*$/, '');
  const family = net.isIP(text);
  if (family === 0) return new Uint8Array();
  if (family === 4) return Uint8Array.from(text.split('.'), Number);
  const hex = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head = '', tail] = hex.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}
