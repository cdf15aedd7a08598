import { UpstreamError, codeOf, messageOf } from '../common/errors.ts';
import { MAX_RESPONSE_HEADER_BYTES } from './limits.ts';
import { tlsError } from './trust.ts';

/** Says why a connection could not be opened. `place`: host and port for messages; `hostname`: what was looked up. */
export function connectError(error: Error, place: string, hostname: string): UpstreamError {
  const code = codeOf(error) ?? '';
  const cause = { cause: error };
  if (code === 'ENOTFOUND')
    return new UpstreamError(
      'CULVERT_UPSTREAM_NOT_FOUND',
      'resolve',
      `There is no host ${hostname}. Check the URL and the network.`,
      cause,
    );
  if (code === 'EAI_AGAIN')
    return new UpstreamError(
      'CULVERT_UPSTREAM_NOT_FOUND',
      'resolve',
      `There is no host ${hostname}, or the network can’t say. Check the URL and the network.`,
      cause,
    );
  if (code === 'ECONNREFUSED')
    return new UpstreamError(
      'CULVERT_UPSTREAM_REFUSED',
      'connect',
      `Nothing listens at ${place}. Check the port and that the server is running.`,
      cause,
    );
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH' || code === 'ETIMEDOUT')
    return new UpstreamError('CULVERT_UPSTREAM_UNREACHABLE', 'connect', `${place} can’t be reached. Check the network.`, cause);
  return new UpstreamError('CULVERT_UPSTREAM_FAILED', 'connect', `No connection to ${place}: ${messageOf(error)}.`, cause);
}

/** Says why no answer came over a connection. Names the host, never the path or query. */
export function requestError(error: Error, place: string, firstByteTimeoutMs: number): UpstreamError {
  const code = codeOf(error) ?? '';
  const cause = { cause: error };
  if (code === 'UND_ERR_HEADERS_TIMEOUT')
    return new UpstreamError('CULVERT_UPSTREAM_ANSWER_TIMEOUT', 'timeout', `${place} did not answer within ${spanOf(firstByteTimeoutMs)}.`);
  if (code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'HPE_HEADER_OVERFLOW')
    return new UpstreamError(
      'CULVERT_UPSTREAM_HEADERS',
      'response',
      `${place} answered with headers larger than ${MAX_RESPONSE_HEADER_BYTES / 1024} KiB.`,
      cause,
    );
  if (code.startsWith('HPE_') || error.name === 'HTTPParserError')
    return new UpstreamError(
      'CULVERT_UPSTREAM_NOT_HTTP',
      'response',
      `What listens at ${place} does not speak HTTP. Check the port, and http: against https:.`,
      cause,
    );
  // With TLS 1.3 a server refuses our certificate, or that there is none, only once we speak.
  const tls = tlsError(error, place);
  if (tls) return tls;
  return new UpstreamError(
    'CULVERT_UPSTREAM_BROKE',
    'request',
    `The connection to ${place} broke before an answer came. The call may or may not have been carried out.`,
    cause,
  );
}

/** Whether an error says that the connection was closed by the other side or the network. */
export function isBroken(error: Error): boolean {
  const code = codeOf(error);
  return code === 'ECONNRESET' || code === 'EPIPE' || code === 'ECONNABORTED' || code === 'UND_ERR_SOCKET';
}

function spanOf(ms: number): string {
  return ms >= 60_000 ? `${Math.round(ms / 60_000)} minutes` : `${ms / 1000} seconds`;
}
