/** Time to open a connection, milliseconds: name, connection, proxy and TLS together. */
export const CONNECT_TIMEOUT_MS = 15_000;
/** A host with several addresses: time for each before the next is tried, milliseconds. Node's own 250 ms is less than some ways take. */
export const ADDRESS_ATTEMPT_MS = 1_000;
/** A tool may take long before it says anything; after this the call is given up. */
export const FIRST_BYTE_TIMEOUT_MS = 10 * 60_000;
/** Connections per server: as many as agents may open to us, since each may hold a stream. */
export const MAX_SOCKETS = 1024;
/** Idle connections are closed after this, before the common server default of 5 s does it under a request. */
export const IDLE_SOCKET_MS = 4_000;
/** Connections older than this take no further request, so that a name that changed its address is followed; what runs on them goes on. */
export const MAX_CONNECTION_AGE_MS = 5 * 60_000;
/**
 * Silence on a connection after which TCP asks the other side whether it is still there, milliseconds. Node then asks every second, ten
 * times (`TCP_KEEPINTVL`, `TCP_KEEPCNT` as libuv sets them): a stream over a dead network ends about 40 s after it went silent.
 */
export const TCP_KEEP_ALIVE_MS = 30_000;
/** Redirects within the same origin that are followed. */
export const MAX_REDIRECTS = 3;
/** Headers of a response, bytes. */
export const MAX_RESPONSE_HEADER_BYTES = 64 * 1024;
/** What a proxy may say before the tunnel through it is open, bytes. */
export const MAX_PROXY_ANSWER_BYTES = 16 * 1024;
/** Body of an answer with an error status: it says why in a few words, so it is held no longer and no larger than this. */
export const ERROR_BODY_TIMEOUT_MS = 10_000;
export const MAX_ERROR_BODY_BYTES = 1024 * 1024;
/** Rest of a body that nobody wants: read up to here so that its connection can be used again; beyond, the connection is closed. */
export const MAX_DISCARDED_BYTES = 64 * 1024;
export const DISCARD_TIMEOUT_MS = 5_000;

/** The limits that a caller may set otherwise; the constants of the same names are the defaults. */
export interface UpstreamLimits {
  readonly connectTimeoutMs: number;
  readonly firstByteTimeoutMs: number;
}

/** The limits that hold where nothing else is said. */
export const DEFAULT_LIMITS: UpstreamLimits = { connectTimeoutMs: CONNECT_TIMEOUT_MS, firstByteTimeoutMs: FIRST_BYTE_TIMEOUT_MS };
