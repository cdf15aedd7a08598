import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate } from 'node:tls';
import { describeCertificate, pinOf, signedPath, summaryOf } from '../../../src/upstream/certificate.ts';
import { Authority, selfSigned, type Issued } from '../../support/certificate.ts';

/** The chain as Node links it: each with the next as its issuer, a root with itself. */
function linked(...certificates: readonly Pick<Issued, 'cert'>[]): DetailedPeerCertificate {
  const all = certificates.map(({ cert }) => ({ raw: new X509Certificate(cert).raw })) as DetailedPeerCertificate[];
  for (const [i, certificate] of all.entries()) certificate.issuerCertificate = all[i + 1] ?? certificate;
  return all[0]!;
}
const pins = (leaf: DetailedPeerCertificate) => signedPath(leaf).map(pinOf);

describe('pinOf', () => {
  it('is the base64 of the SHA-256 of the SubjectPublicKeyInfo, as openssl computes it', () => {
    // openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64
    const certificate = new X509Certificate(KNOWN);
    assert.equal(pinOf(certificate), KNOWN_PIN);
    const made = selfSigned();
    assert.equal(pinOf(new X509Certificate(made.cert)), made.pin);
  });
});

describe('signedPath', () => {
  const root = new Authority('Root');
  const middle = new Authority('Middle', root);
  const leaf = middle.issue();

  it('goes from the certificate to the root', () => {
    assert.deepEqual(pins(linked(leaf, middle, root)), [leaf.pin, middle.pin, root.pin]);
    const alone = selfSigned();
    assert.deepEqual(pins(linked(alone)), [alone.pin]);
    assert.deepEqual(signedPath({} as DetailedPeerCertificate), []);
  });

  it('ends where the names fit but the signature does not', () => {
    const impostor = new Authority('Middle', root);
    assert.deepEqual(pins(linked(leaf, impostor, root)), [leaf.pin]);
  });

  it('ends at a certificate that may not sign', () => {
    const person = root.issue({ name: 'Person' });
    const signedByPerson = new Authority('Person', undefined, person.key).issue();
    assert.deepEqual(pins(linked(signedByPerson, person, root)), [signedByPerson.pin]);
  });

  it('ends in a circle', () => {
    const a = new X509Certificate(root.cert).raw;
    const first = { raw: a } as DetailedPeerCertificate;
    first.issuerCertificate = { raw: a, issuerCertificate: first } as DetailedPeerCertificate;
    assert.equal(signedPath(first).length, 1);
  });
});

describe('summaryOf', () => {
  it('says who, by whom, for what, until when', () => {
    const summary = summaryOf(
      new X509Certificate(new Authority('Some CA').issue({ name: 'srv', hosts: ['a.test', '10.0.0.1'], expired: true }).cert),
    );
    assert.deepEqual([summary.subject, summary.issuer, summary.names], ['srv', 'Some CA', ['a.test', '10.0.0.1']]);
    assert.match(`${summary.validFrom} ${summary.validTo}`, /^\d{4}-\d\d-\d\d \d{4}-\d\d-\d\d$/);
    assert.ok(summary.validTo < new Date().toISOString());
    assert.ok(describeCertificate(summary).includes(summary.pin));
  });

  it('shows nothing invisible, nothing too long, no more names than a few', () => {
    const name = `ok\u202e\u0007${'x'.repeat(120)}`;
    const hosts = ['1', '2', '3', '4', '5', '6', '7'].map((n) => `h${n}.test`);
    const summary = summaryOf(new X509Certificate(selfSignedAs(name, hosts).cert));
    assert.ok(!/[\p{Cc}\p{Cf}]/u.test(summary.subject) && summary.subject.length <= 80, summary.subject);
    assert.deepEqual(summary.names, [...hosts.slice(0, 5), '…']);
  });

  it('falls back to a host name where the subject is empty', () => {
    assert.equal(summaryOf(new X509Certificate(selfSignedAs('', ['only.test']).cert)).subject, 'only.test');
  });
});

const selfSignedAs = (name: string, hosts: readonly string[]) => new Authority('CA').issue({ name, hosts });

/** Made with openssl; its private key is gone. */
const KNOWN = `-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUX1+9LmLH+wyamgyKZefbi/t5bagwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFa25vd24wIBcNMjYxMTIyMTgyNTQ5WhgPMjEyNjEwMjkxODI1
NDlaMBAxDjAMBgNVBAMMBWtub3duMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
Occ6RrIrgt3ZMnCE+mKf1Qq2yJq5F0c+jnvqx1mkFUdTDuNRBIlm2p0VfHpJakhs
ckH3ReuXlryST/vEZbZe7qNTMFEwHQYDVR0OBBYEFCBIYH7wlx1wjJM19eYX3c5V
/lf/MB8GA1UdIwQYMBaAFCBIYH7wlx1wjJM19eYX3c5V/lf/MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAIxw3C7bdTQUIu/yML9HAaMwaAZjQYgP
9VmUhGbE/HFzAiBQYsISt6USyJcpHjgZw5DxREf9hpwqBrpaynasV3vCew==
-----END CERTIFICATE-----`;
const KNOWN_PIN = 'cTntwZe2mnJ18PAIYBJmAXGqAESuhdtEhk62K7lgvL8=';
