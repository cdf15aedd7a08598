import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { problemOf, tlsError } from '../../../src/upstream/trust.ts';
import { Authority } from '../../support/certificate.ts';

describe('problemOf', () => {
  // As OpenSSL (Node) and BoringSSL (the editor) name them.
  for (const [words, codes] of [
    [
      /wants a certificate of ours/,
      ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'ERR_SSL_TLSV1_ALERT_CERTIFICATE_REQUIRED', 'ERR_SSL_SSLV3_ALERT_NO_CERTIFICATE'],
    ],
    [
      /does not accept the certificate that we show/,
      [
        'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE',
        'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE',
        'ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE',
        'ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED',
        'ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED',
        'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN',
        'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
        'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED',
      ],
    ],
    [
      /no version of TLS that is still safe/,
      ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'ERR_SSL_UNSUPPORTED_PROTOCOL', 'ERR_SSL_VERSION_TOO_LOW'],
    ],
    [/does not speak TLS there/, ['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG', 'ERR_SSL_HTTP_REQUEST']],
    [
      /agree on no way of encryption/,
      ['ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE', 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', 'ERR_SSL_HANDSHAKE_FAILURE_ON_CLIENT_HELLO'],
    ],
    [
      /not in order \(/,
      ['ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC', 'CERT_SIGNATURE_FAILURE', 'INVALID_PURPOSE', 'EE_KEY_TOO_SMALL', 'CA_MD_TOO_WEAK'],
    ],
    [/was revoked/, ['CERT_REVOKED']],
    [/not valid yet/, ['CERT_NOT_YET_VALID']],
    [/self-signed/, ['DEPTH_ZERO_SELF_SIGNED_CERT']],
    [
      /authority this machine does not trust/,
      ['SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
    ],
  ] as const)
    for (const code of codes) it(`${code}: ${words.source}`, () => assert.match(problemOf(code, '') ?? '', words));

  it('reads the message where the code says nothing', () => {
    assert.match(problemOf('EPROTO', 'write EPROTO 123:error:0A00010B:SSL routines::wrong version number:') ?? '', /does not speak TLS/);
    assert.match(
      problemOf('EPROTO', 'write EPROTO error:10000070:SSL routines:OPENSSL_internal:TLSV1_ALERT_CERTIFICATE_REQUIRED') ?? '',
      /wants a certificate/,
    );
  });

  it('leaves alone what is not about TLS', () => {
    for (const code of ['ECONNRESET', 'ENOTFOUND', 'UND_ERR_SOCKET', 'HPE_INVALID_CONSTANT', ''])
      assert.equal(tlsError(Object.assign(new Error('other side closed'), { code }), 'a.test'), undefined, code);
  });

  it('tells the certificate of the server from one that vouches for it', () => {
    const authority = new Authority();
    const shown = (expired: boolean) => new X509Certificate(authority.issue({ expired }).cert);
    assert.match(problemOf('CERT_HAS_EXPIRED', '', shown(true)) ?? '', /^its certificate has expired on/);
    assert.match(problemOf('CERT_HAS_EXPIRED', '', shown(false)) ?? '', /^a certificate that vouches for it has expired/);
  });
});
