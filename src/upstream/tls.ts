import { X509Certificate } from 'node:crypto';
import type { UpstreamError } from '../common/errors.ts';
import { codeOf, messageOf } from '../common/errors.ts';
import type { Tls } from '../mcp/server.ts';
import { pinOf, signedPath, summaryOf, type CertificateSummary } from './certificate.ts';
import { Connector } from './connect.ts';
import { CONNECT_TIMEOUT_MS } from './limits.ts';
import { proxyFor, type ProxyEnvironment } from './proxies.ts';
import { Trust, handshake, problemOf, type ClientKey } from './trust.ts';

/** A server's certificate as it was shown, whether or not it would be trusted. */
export interface SeenCertificate extends CertificateSummary {
  /** Pins of the certificate and of what signed it, as far as the server shows it or we know it. */
  readonly pins: readonly string[];
  /** The certificate itself. */
  readonly pem: string;
  /** Why calls would not go there as things are, in words; `undefined` if they would. */
  readonly problem?: string;
}

/**
 * Looks at the certificate of a server, so that a person can decide about it: nothing but the handshake is sent, and `tls` counts but for its
 * pins and `unverified`. Throws UpstreamError if there is no certificate to be had.
 */
export async function inspectCertificate(
  url: URL,
  options: {
    readonly tls?: Tls | undefined;
    readonly proxies?: ProxyEnvironment;
    readonly socketPath?: string;
    readonly clientKey?: ClientKey;
    readonly timeoutMs?: number;
  } = {},
): Promise<SeenCertificate> {
  const { authorities, clientCertificate } = options.tls ?? {};
  const settings = { ...(authorities !== undefined && { authorities }), ...(clientCertificate && { clientCertificate }) };
  const place = url.host;
  const trust = new Trust(settings, options.clientKey);
  const proxy = options.socketPath === undefined ? proxyFor(url, options.proxies ?? process.env) : undefined;
  const connector = new Connector({
    url,
    place,
    trust,
    proxy,
    socketPath: options.socketPath,
    timeoutMs: options.timeoutMs ?? CONNECT_TIMEOUT_MS,
  });
  const context = await trust.context(place);
  return connector.reach(async (raw, attempt) => {
    let path: X509Certificate[] = [];
    const onCertificate = (socket: Parameters<NonNullable<Parameters<typeof handshake>[2]['onCertificate']>>[0]) => {
      path = signedPath(socket.getPeerCertificate(true));
    };
    const seen = (problem?: string): SeenCertificate | undefined => {
      const [leaf] = path;
      return leaf && { ...summaryOf(leaf), pins: path.map(pinOf), pem: leaf.toString(), ...(problem !== undefined && { problem }) };
    };
    try {
      const socket = await handshake(raw, url.hostname.replace(/^\[|\]$/g, ''), { context, verified: true, place, onCertificate }, attempt);
      socket.destroy();
    } catch (error) {
      const { cause } = error as UpstreamError;
      const certificate = seen(problemOf(codeOf(cause) ?? '', messageOf(cause), path[0]) ?? messageOf(error));
      if (!certificate) throw error;
      return certificate;
    }
    const certificate = seen();
    if (!certificate) throw new Error('a handshake without a certificate');
    return certificate;
  });
}
