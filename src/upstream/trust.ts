import { X509Certificate, createPrivateKey, hash } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import tls, { type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls';
import { UpstreamError, codeOf, messageOf } from '../common/errors.ts';
import type { Tls } from '../mcp/server.ts';
import { describeCertificate, pinOf, signedPath, summaryOf } from './certificate.ts';
import { settled, type Attempt } from './attempt.ts';

/** The oldest version that is spoken (RFC 8996). */
const MIN_VERSION = 'TLSv1.2';

/** Opens the private key of a client certificate; `undefined` if the vault doesn't give it for this server. */
export type ClientKey = (credential: string) => Promise<{ expose(): string } | undefined>;

let authorities: readonly string[] | undefined;
let plainContext: SecureContext | undefined;

/**
 * The authorities that are trusted everywhere, PEM: Node's own, the system's, and those of `NODE_EXTRA_CA_CERTS`. Read once, when first
 * needed: the system's take some 50 ms.
 */
function defaultAuthorities(): readonly string[] {
  return (authorities ??= [...new Set([...authoritiesOf('default'), ...authoritiesOf('system'), ...extraAuthorities()])]);
}

function authoritiesOf(kind: 'default' | 'system' | 'extra'): readonly string[] {
  try {
    return tls.getCACertificates(kind);
  } catch {
    // Not every build of Node can read them; its own remain.
    return kind === 'default' ? tls.rootCertificates : [];
  }
}

/** Node reads the variable at its start; inside an editor nobody may have done so. */
function extraAuthorities(): readonly string[] {
  const file = process.env['NODE_EXTRA_CA_CERTS'];
  if (file === undefined || file === '' || authoritiesOf('extra').length > 0) return [];
  try {
    return [fs.readFileSync(file, 'utf8')];
  } catch {
    return [];
  }
}

/** What a TLS connection to somebody without settings of their own is made with, such as a proxy. */
export function defaultContext(): SecureContext {
  return (plainContext ??= tls.createSecureContext({ ca: [...defaultAuthorities()], minVersion: MIN_VERSION }));
}

/**
 * Whom TLS connections to one server trust, which keys they want to see, and what they show of us. Costly things are made once and kept;
 * the private key is asked for with every connection, so that one that was taken back is not used again.
 */
export class Trust {
  readonly #tls: Tls;
  readonly #clientKey: ClientKey | undefined;
  #made: { readonly context: SecureContext; readonly key: string } | undefined;
  #session: Buffer | undefined;

  constructor(settings: Tls = {}, clientKey?: ClientKey) {
    this.#tls = settings;
    this.#clientKey = clientKey;
  }

  /** Whether who answers has shown that they are who the URL names. */
  get proves(): boolean {
    return this.#tls.unverified !== true || this.#tls.pins !== undefined;
  }

  /** Reads certificates and key. Throws UpstreamError of the leg `tls` if one can't be used; never with anything of the key. */
  async context(place: string): Promise<SecureContext> {
    const { authorities: own, clientCertificate } = this.#tls;
    if (own === undefined && !clientCertificate) return defaultContext();
    const key = clientCertificate ? await this.#openKey(clientCertificate.keyCredential, place) : '';
    const digest = hash('sha256', key);
    if (this.#made?.key !== digest) {
      const ours = clientCertificate ? readClientCertificate(clientCertificate.chain, key, place) : undefined;
      const context = tls.createSecureContext({
        ca: own === undefined ? [...defaultAuthorities()] : [...defaultAuthorities(), ...readAuthorities(own, place)],
        minVersion: MIN_VERSION,
        // An authority of the user's own may be an intermediate one, or the very certificate of the server.
        ...(own !== undefined && { allowPartialTrustChain: true }),
        ...ours,
      });
      this.#made = { context, key: digest };
      this.#session = undefined;
    }
    return this.#made.context;
  }

  /**
   * Makes a TLS connection of `raw`, checks who answers, then the pins. Resolves before anything else is sent. Throws UpstreamError of the leg
   * `tls`, which names the cause and the certificate.
   */
  async secure(raw: net.Socket, host: string, place: string, context: SecureContext, attempt: Attempt): Promise<TLSSocket> {
    const { pins, unverified, clientCertificate } = this.#tls;
    try {
      const options = { context, verified: unverified !== true, place, session: this.#session, shows: clientCertificate !== undefined };
      const socket = await handshake(raw, host, options, attempt);
      // A resumed session no longer knows the chain that was shown.
      if (pins) checkPins(socket, pins, place);
      else {
        // TLS 1.3 hands sessions out later, 1.2 before its handshake is over.
        socket.on('session', (session: Buffer) => (this.#session = session));
        if (socket.getProtocol() === 'TLSv1.2') this.#session = socket.getSession();
      }
      return socket;
    } catch (error) {
      this.#session = undefined;
      throw error;
    }
  }

  async #openKey(credential: string, place: string): Promise<string> {
    let secret: { expose(): string } | undefined;
    try {
      secret = await this.#clientKey?.(credential);
    } catch (error) {
      throw clientCertificateError(place, `its private key can’t be opened (${messageOf(error)})`);
    }
    if (!secret) throw clientCertificateError(place, 'its private key is not in the vault, or not for this server');
    return secret.expose();
  }
}

/** How a handshake is to be made. */
export interface HandshakeOptions {
  readonly context: SecureContext;
  readonly verified: boolean;
  /** The other side, for messages. */
  readonly place: string;
  readonly session?: Buffer | undefined;
  /** Whether `context` holds a certificate of ours. */
  readonly shows?: boolean;
  /** Is shown the certificate as soon as there is one, whatever is wrong with it. */
  readonly onCertificate?: (socket: TLSSocket) => void;
}

/** A TLS connection over another one, for a host name or address. Throws UpstreamError of the leg `tls`. */
export async function handshake(raw: net.Socket, host: string, options: HandshakeOptions, attempt: Attempt): Promise<TLSSocket> {
  attempt.now('tls');
  const socket = tls.connect({
    socket: raw,
    host,
    servername: net.isIP(host) === 0 ? host : '',
    secureContext: options.context,
    // Nothing to Node, which has its context; without it VS Code's tls.connect adds all of the system's authorities to that, every time.
    ca: [],
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: options.verified,
    ...(options.session && { session: options.session }),
  });
  attempt.hold(socket);
  let shown: Buffer | undefined;
  // Comes before Node's own listener, which closes the connection if anything is wrong with the certificate. Not getPeerX509Certificate():
  // after it, Node 24 finds no host names in the certificate any more.
  socket.prependOnceListener('secure', () => {
    shown = (socket.getPeerCertificate() as Partial<PeerCertificate>).raw;
    options.onCertificate?.(socket);
  });
  try {
    await settled(socket, 'secureConnect');
    // What the other side says against us (an alert) Node reports without closing, and what closes the connection a moment later would hide it.
    socket.on('error', (error: Error) => void socket.destroy(error));
    return socket;
  } catch (error) {
    socket.destroy();
    raw.destroy();
    if (error instanceof UpstreamError) throw error;
    const certificate = shown && new X509Certificate(shown);
    throw tlsError(error as Error, options.place, certificate) ?? brokeOff(options, error);
  }
}

function checkPins(socket: TLSSocket, pins: readonly string[], place: string): void {
  const path = signedPath(socket.getPeerCertificate(true));
  if (path.some((certificate) => pins.includes(pinOf(certificate)))) return;
  socket.destroy();
  const [leaf] = path;
  throw new UpstreamError(
    'CULVERT_UPSTREAM_PIN',
    'tls',
    leaf
      ? `No safe connection to ${place}: the key it shows, ${pinOf(leaf)}, is not ${pins.length === 1 ? 'the one that is' : 'among those that are'} pinned. Nothing was sent. Ask the people who run it whether they changed their key; if so, pin the new one with “Culvert: Edit Server…”. If not, somebody may be in between. ${describeCertificate(summaryOf(leaf))}`
      : `No safe connection to ${place}: it shows no certificate, and a key is pinned. Nothing was sent.`,
  );
}

function readAuthorities(text: string, place: string): readonly string[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    for (const block of blocks) new X509Certificate(block);
    if (blocks.length > 0) return blocks;
  } catch {
    // Said below.
  }
  throw new UpstreamError(
    'CULVERT_UPSTREAM_AUTHORITIES',
    'tls',
    `The authorities that are set for ${place} can’t be read as certificates (PEM). Choose the file again with “Culvert: Edit Server…”.`,
  );
}

function readClientCertificate(chain: string, key: string, place: string): { readonly cert: string; readonly key: string } {
  // OpenSSL's own words could quote what they could not read: none of them are passed on.
  const attempt = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch {
      return undefined;
    }
  };
  const certificate = attempt(() => new X509Certificate(chain));
  if (!certificate) throw clientCertificateError(place, 'the certificate can’t be read (PEM)');
  const privateKey = attempt(() => createPrivateKey(key));
  if (!privateKey)
    throw clientCertificateError(
      place,
      key.includes('ENCRYPTED')
        ? 'its private key is locked with a password; store it without one, the vault protects it'
        : 'its private key can’t be read (PEM)',
    );
  if (!certificate.checkPrivateKey(privateKey)) throw clientCertificateError(place, 'the private key is not that of the certificate');
  return { cert: chain, key };
}

function clientCertificateError(place: string, why: string): UpstreamError {
  return new UpstreamError(
    'CULVERT_UPSTREAM_CLIENT_CERTIFICATE',
    'tls',
    `The certificate that is shown to ${place} can’t be used: ${why}. Change it with “Culvert: Edit Server…”.`,
  );
}

function brokeOff({ place, shows }: HandshakeOptions, cause: unknown): UpstreamError {
  return new UpstreamError(
    'CULVERT_UPSTREAM_TLS',
    'tls',
    `No safe connection to ${place}: it closed the connection while TLS was being set up. Check http: against https:, ${shows ? 'the certificate that we show, ' : ''}and the network.`,
    { cause },
  );
}

/** What went wrong with TLS, or `undefined` if it was something else. `shown`: the certificate of the other side, where there was one. */
export function tlsError(error: Error, place: string, shown?: X509Certificate): UpstreamError | undefined {
  const code = codeOf(error) ?? '';
  const reason = problemOf(code, error.message, shown);
  if (reason === undefined) return undefined;
  const certificate = shown ? ` ${describeCertificate(summaryOf(shown))}` : '';
  return new UpstreamError('CULVERT_UPSTREAM_TLS', 'tls', `No safe connection to ${place}: ${reason}${certificate}`, { cause: error });
}

/** What Node (OpenSSL, or BoringSSL inside the editor) reports about TLS, in words; `undefined` if it reports something else. */
export function problemOf(code: string, message: string, shown?: X509Certificate): string | undefined {
  const summary = shown && summaryOf(shown);
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return shown && summary && Date.parse(shown.validTo) < Date.now()
        ? `its certificate has expired on ${summary.validTo}. Whoever runs it must renew it; check this machine’s clock too.`
        : 'a certificate that vouches for it has expired. Whoever runs it must renew it; check this machine’s clock too.';
    case 'CERT_NOT_YET_VALID':
      return 'its certificate is not valid yet. Check this machine’s clock.';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `its certificate is for another host${summary && summary.names.length > 0 ? `: ${summary.names.join(', ')}` : ''}. Check the URL.`;
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return 'its certificate is self-signed: nobody vouches for it. If it is the right one, trust it with “Culvert: Edit Server…”.';
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return `its certificate comes from an authority this machine does not trust${summary ? `: ${summary.issuer}` : ''}. If that is the right one, trust it with “Culvert: Edit Server…”.`;
    case 'CERT_REVOKED':
      return 'its certificate was revoked.';
  }
  const text = `${code} ${message}`;
  // What the other side says about ours (RFC 8446, 6.2).
  if (/ALERT[_ ](CERTIFICATE[_ ]REQUIRED|NO[_ ]CERTIFICATE)/i.test(text))
    return 'it wants a certificate of ours. Set one with “Culvert: Edit Server…”.';
  if (/ALERT[_ ](BAD|UNSUPPORTED|UNKNOWN)[_ ]C|ALERT[_ ]CERTIFICATE[_ ]|ALERT[_ ]ACCESS[_ ]DENIED/i.test(text))
    return 'it does not accept the certificate that we show. Change it with “Culvert: Edit Server…”.';
  if (/PROTOCOL[_ ]VERSION|UNSUPPORTED[_ ]PROTOCOL|VERSION[_ ]TOO[_ ]LOW/i.test(text))
    return 'it speaks no version of TLS that is still safe (1.2 or later). Whoever runs it must update it.';
  if (/WRONG[_ ]VERSION[_ ]NUMBER|PACKET[_ ]LENGTH[_ ]TOO[_ ]LONG|HTTP[_ ]REQUEST/i.test(text))
    return 'it does not speak TLS there. Check http: against https:.';
  if (/HANDSHAKE[_ ]FAILURE/i.test(text))
    return 'it and Culvert agree on no way of encryption, or it wants a certificate of ours (“Culvert: Edit Server…”).';
  if (
    code.startsWith('ERR_TLS') ||
    code.startsWith('ERR_SSL') ||
    code === 'EPROTO' ||
    /CERT|^(INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH_EXCEEDED)$|_(TOO_SMALL|TOO_WEAK)$/.test(code)
  )
    return `its certificate or its TLS is not in order (${code}).`;
  return undefined;
}
