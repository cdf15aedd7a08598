import { createHash, createPrivateKey, createPublicKey, createSign, generateKeyPairSync, randomBytes } from 'node:crypto';
import net from 'node:net';

/** One DER element. */
function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const length =
    body.length < 0x80 ? [body.length] : body.length < 0x100 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const sequence = (...content: readonly Buffer[]) => der(0x30, ...content);
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'));
const time = (at: Date) => der(0x17, Buffer.from(`${at.toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`, 'latin1'));

const DAY_MS = 24 * 60 * 60 * 1000;
const ECDSA_WITH_SHA256 = sequence(oid('2a8648ce3d040302'));

/** A certificate and its private key, PEM, and the pin of the key (RFC 7469, 2.4). */
export interface Issued {
  readonly key: string;
  readonly cert: string;
  readonly pin: string;
}

/** What a certificate says. */
export interface Claims {
  /** Common name. */
  readonly name?: string;
  /** Names and addresses it is for; default: this machine. */
  readonly hosts?: readonly string[];
  readonly expired?: boolean;
  /** May sign others. */
  readonly ca?: boolean;
  /** Private key (PEM) in place of a new one. */
  readonly key?: string;
}

/** Who signs: a name and a private key. */
interface Signer {
  readonly name: string;
  readonly key: string;
}

function issue(claims: Claims, signer?: Signer): Issued {
  const { name = 'Culvert test', hosts = ['localhost', '127.0.0.1', '::1'], expired = false, ca = false } = claims;
  const key =
    claims.key ?? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const spki = createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' });
  const named = (text: string) => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(text)))));
  const [from, to] = expired ? [-20 * DAY_MS, -10 * DAY_MS] : [-DAY_MS, 10 * DAY_MS];
  const address = (host: string) =>
    net.isIPv4(host) ? Buffer.from(host.split('.').map(Number)) : Buffer.concat([Buffer.alloc(15), Buffer.from([1])]);
  const names = hosts.map((host) => (net.isIP(host) === 0 ? der(0x82, Buffer.from(host)) : der(0x87, address(host))));
  const yes = der(0x01, Buffer.from([0xff]));
  const extensions = [
    ...(ca ? [sequence(oid('551d13'), yes, der(0x04, sequence(yes)))] : []),
    ...(names.length > 0 ? [sequence(oid('551d11'), der(0x04, sequence(...names)))] : []),
  ];
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    named(signer?.name ?? name),
    sequence(time(new Date(Date.now() + from)), time(new Date(Date.now() + to))),
    named(name),
    spki,
    ...(extensions.length > 0 ? [der(0xa3, sequence(...extensions))] : []),
  );
  const signature = createSign('sha256')
    .update(body)
    .sign(signer?.key ?? key);
  const text = sequence(body, ECDSA_WITH_SHA256, der(0x03, Buffer.from([0]), signature)).toString('base64');
  const lines = text.match(/.{1,64}/g)?.join('\n') ?? '';
  return {
    key,
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    pin: createHash('sha256').update(spki).digest('base64'),
  };
}

/** An authority that tests make up (RFC 5280): a root of its own, or one that another authority vouches for. */
export class Authority implements Issued {
  readonly name: string;
  readonly key: string;
  readonly cert: string;
  readonly pin: string;

  constructor(name = 'Culvert test authority', parent?: Authority, key?: string) {
    this.name = name;
    ({ key: this.key, cert: this.cert, pin: this.pin } = issue({ name, hosts: [], ca: true, ...(key !== undefined && { key }) }, parent));
  }

  /** A certificate that this authority vouches for. */
  issue(claims: Claims = {}): Issued {
    return issue(claims, this);
  }
}

/** A key and a certificate for 127.0.0.1 and localhost that nobody vouches for but itself. */
export function selfSigned(options: { readonly expired?: boolean; readonly host?: string } = {}): Issued {
  return issue({ expired: options.expired ?? false, ...(options.host !== undefined && { hosts: [options.host] }) });
}
