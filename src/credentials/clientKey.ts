import { createPrivateKey, createPublicKey, createSign, generateKeyPairSync, randomBytes } from 'node:crypto';
import { Secret } from './secret.ts';

/** How long a certificate that we sign ourselves lasts, days. */
export const SELF_SIGNED_DAYS = 365;

const DAY_MS = 24 * 3600_000;

/** A key that was made here, with what the other side is given of it. */
export interface ClientKey {
  /** PKCS #8, PEM. Goes into the vault and nowhere else. */
  readonly key: Secret;
  /** Certificate that the key signed for itself, PEM. */
  certificate(now: number): string;
  /** Certificate signing request (PKCS #10, RFC 2986), PEM. */
  request(): string;
}

/** Makes a key on P-256 for the certificate of a client called `name`. */
export function makeClientKey(name: string): ClientKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return clientKeyOf(new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString().trim()), name);
}

/** The same for a key that is there already, on P-256. */
export function clientKeyOf(key: Secret, name: string): ClientKey {
  const publicKey = () => createPublicKey(createPrivateKey(key.expose())).export({ type: 'spki', format: 'der' });
  const subject = sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(name, 'utf8')))));
  return {
    key,
    certificate(now) {
      const usage = sequence(
        // Basic constraints: no authority. Key usage: digital signature. Extended: client authentication (RFC 5280, 4.2.1).
        sequence(oid('551d13'), TRUE, der(0x04, sequence())),
        sequence(oid('551d0f'), TRUE, der(0x04, der(0x03, Buffer.from([7, 0x80])))),
        sequence(oid('551d25'), der(0x04, sequence(oid('2b06010505070302')))),
      );
      const serial = randomBytes(16);
      serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
      const body = sequence(
        der(0xa0, der(0x02, Buffer.from([2]))),
        der(0x02, serial),
        ECDSA_WITH_SHA256,
        subject,
        sequence(time(now - DAY_MS), time(now + SELF_SIGNED_DAYS * DAY_MS)),
        subject,
        publicKey(),
        der(0xa3, usage),
      );
      return pem('CERTIFICATE', signed(body, key));
    },
    request() {
      return pem('CERTIFICATE REQUEST', signed(sequence(der(0x02, Buffer.from([0])), subject, publicKey(), der(0xa0)), key));
    },
  };
}

/** ITU-T X.690: a DER element. */
function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const { length } = body;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

function sequence(...content: readonly Buffer[]): Buffer {
  return der(0x30, ...content);
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

const TRUE = der(0x01, Buffer.from([0xff]));
const ECDSA_WITH_SHA256 = sequence(oid('2a8648ce3d040302'));

/** UTCTime until 2049, then GeneralizedTime (RFC 5280, 4.1.2.5). */
function time(at: number): Buffer {
  const text = `${new Date(at).toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
  return Number(text.slice(0, 4)) < 2050 ? der(0x17, Buffer.from(text.slice(2), 'latin1')) : der(0x18, Buffer.from(text, 'latin1'));
}

function signed(body: Buffer, key: Secret): Buffer {
  const signature = createSign('SHA256').update(body).sign(key.expose());
  return sequence(body, ECDSA_WITH_SHA256, der(0x03, Buffer.from([0]), signature));
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
