/** Time to open a connection, TLS included, milliseconds. */
export const CONNECT_TIMEOUT_MS = 15_000;
/** A tool may take long before it says anything; after this the call is given up. */
export const FIRST_BYTE_TIMEOUT_MS = 10 * 60_000;
/** Connections per server: as many as agents may open to us, since each may hold a stream. */
export const MAX_SOCKETS = 1024;
/** Idle connections are closed after this, before the common server default of 5 s does it under a request. */
export const IDLE_SOCKET_MS = 4_000;
/** Redirects within the same origin that are followed. */
export const MAX_REDIRECTS = 3;
/** Headers of a response, bytes. */
export const MAX_RESPONSE_HEADER_BYTES = 64 * 1024;
