import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey, createPublicKey, verify } from 'node:crypto';
import { SELF_SIGNED_DAYS, makeClientKey } from '../../../src/credentials/clientKey.ts';
import { refuseValue } from '../../../src/credentials/injection.ts';

describe('Client keys made here', () => {
  const made = makeClientKey('Me at Wiki — ü');
  const now = Date.UTC(2026, 5, 1);

  it('are PKCS #8 and fit the vault', () =>
    assert.equal(refuseValue(made.key.expose(), { kind: 'client-key' }, { min: 1, max: 16_384 }), undefined));

  it('have a certificate of their own for clients, and for nothing else', () => {
    const certificate = new X509Certificate(made.certificate(now));
    assert.equal(certificate.subject, 'CN=Me at Wiki — ü');
    assert.equal(certificate.checkPrivateKey(createPrivateKey(made.key.expose())), true);
    assert.equal(certificate.verify(certificate.publicKey), true);
    assert.equal(certificate.ca, false);
    assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2']);
    assert.equal(certificate.validToDate.getTime(), now + SELF_SIGNED_DAYS * 24 * 3600_000);
    assert.notEqual(new X509Certificate(made.certificate(now)).serialNumber, certificate.serialNumber);
  });

  it('have a certificate beyond 2049', () =>
    assert.equal(new X509Certificate(made.certificate(Date.UTC(2060, 0, 1))).validToDate.getUTCFullYear(), 2060));

  it('have a request that they signed', () => {
    const text = made.request();
    assert.match(text, /^-----BEGIN CERTIFICATE REQUEST-----\n/);
    const bytes = Buffer.from(text.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    // SEQUENCE { info, algorithm, BIT STRING { 0, signature } }, lengths of one to three bytes.
    const element = (at: number) => {
      const first = bytes[at + 1]!;
      const more = first < 0x80 ? 0 : first - 0x80;
      const length = more === 0 ? first : bytes.readUIntBE(at + 2, more);
      const start = at + 2 + more;
      return { start, end: start + length };
    };
    const info = element(0).start;
    const infoEnd = element(info).end;
    const bits = element(infoEnd).end;
    const { start, end } = element(bits);
    assert.equal(end, bytes.length);
    assert.equal(verify('SHA256', bytes.subarray(info, infoEnd), createPublicKey(made.key.expose()), bytes.subarray(start + 1, end)), true);
  });
});
