import { UpstreamError, codeOf, messageOf } from '../common/errors.ts';
import { CONNECT_TIMEOUT_MS, FIRST_BYTE_TIMEOUT_MS, MAX_RESPONSE_HEADER_BYTES } from './limits.ts';

/** A time limit of the leg to the server that has passed. */
export function timeoutError(url: URL, what: 'connect' | 'answer'): UpstreamError {
  return what === 'connect'
    ? new UpstreamError(
        'CULVERT_UPSTREAM_CONNECT_TIMEOUT',
        'timeout',
        `${url.host} did not accept a connection within ${CONNECT_TIMEOUT_MS / 1000} seconds. Check the URL and the network.`,
      )
    : new UpstreamError(
        'CULVERT_UPSTREAM_ANSWER_TIMEOUT',
        'timeout',
        `${url.host} did not answer within ${FIRST_BYTE_TIMEOUT_MS / 60_000} minutes.`,
      );
}

/** Turns a system or TLS error into one that says which leg failed and what to do. Names the host, never the path or query. */
export function classify(error: Error, url: URL, connected: boolean): UpstreamError {
  const code = codeOf(error) ?? '';
  const cause = { cause: error };
  const host = url.host;
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return timeoutError(url, 'connect');
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return timeoutError(url, 'answer');
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return new UpstreamError(
      'CULVERT_UPSTREAM_NOT_FOUND',
      'resolve',
      `There is no host ${url.hostname}. Check the URL and the network.`,
      cause,
    );
  if (code === 'ECONNREFUSED')
    return new UpstreamError(
      'CULVERT_UPSTREAM_REFUSED',
      'connect',
      `Nothing listens at ${host}. Check the port and that the server is running.`,
      cause,
    );
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH' || code === 'ETIMEDOUT')
    return new UpstreamError('CULVERT_UPSTREAM_UNREACHABLE', 'connect', `${host} can’t be reached. Check the network.`, cause);
  if (
    code.startsWith('ERR_TLS') ||
    code.startsWith('ERR_SSL') ||
    code.includes('CERT') ||
    code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' ||
    code === 'EPROTO'
  ) {
    return new UpstreamError('CULVERT_UPSTREAM_TLS', 'tls', `No safe connection to ${host}: ${tlsReason(code, error)}`, cause);
  }
  if (code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'HPE_HEADER_OVERFLOW')
    return new UpstreamError(
      'CULVERT_UPSTREAM_HEADERS',
      'response',
      `${host} answered with headers larger than ${MAX_RESPONSE_HEADER_BYTES / 1024} KiB.`,
      cause,
    );
  if (code.startsWith('HPE_') || error.name === 'HTTPParserError')
    return new UpstreamError(
      'CULVERT_UPSTREAM_NOT_HTTP',
      'response',
      `What listens at ${host} does not speak HTTP. Check the port, and http: against https:.`,
      cause,
    );
  return connected
    ? new UpstreamError(
        'CULVERT_UPSTREAM_BROKE',
        'request',
        `The connection to ${host} broke before an answer came. The call may or may not have been carried out.`,
        cause,
      )
    : new UpstreamError('CULVERT_UPSTREAM_FAILED', 'connect', `No connection to ${host}: ${messageOf(error)}.`, cause);
}

function tlsReason(code: string, error: Error): string {
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired.';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'its certificate is for another host.';
  if (code === 'DEPTH_ZERO_SELF_SIGNED_CERT' || code === 'SELF_SIGNED_CERT_IN_CHAIN') return 'its certificate is self-signed.';
  if (code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' || code === 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY')
    return 'its certificate comes from an authority this machine does not trust.';
  if (
    code === 'ERR_SSL_WRONG_VERSION_NUMBER' ||
    code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG' ||
    (code === 'EPROTO' && /wrong version number|packet length too long/i.test(error.message))
  )
    return 'it does not speak TLS there. Check http: against https:.';
  return `${code}.`;
}
