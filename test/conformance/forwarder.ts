import { createServer, request, type IncomingMessage, type RequestOptions, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Where the forwarder sends what it gets. */
export interface ForwardTarget {
  /** A unix socket or named pipe, or host and port. */
  readonly address: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  readonly path: string;
  /** Sent as `Authorization: Bearer` if given. */
  readonly token?: string;
}

/** A running forwarder. */
export interface Forwarder {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * A loopback address for something on a socket, for peers that know only plain URLs. Changes nothing but what it must: the path, the
 * `Host` and `Origin` where they are its own, and it adds the token. Headers keep their spelling and order, bodies their bytes and
 * chunks; a connection that breaks off on one side breaks off on the other.
 */
export async function startForwarder(target: ForwardTarget): Promise<Forwarder> {
  const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, outgoing) => forward(incoming, outgoing, target));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function forward(incoming: IncomingMessage, outgoing: ServerResponse, { address, path, token }: ForwardTarget): void {
  const ownHosts = ['127.0.0.1', 'localhost'].map((name) => `${name}:${String(incoming.socket.localPort)}`);
  const theirHost = 'socketPath' in address ? 'localhost' : `${address.host}:${String(address.port)}`;
  const headers: string[] = [];
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    const name = incoming.rawHeaders[i] ?? '';
    const value = incoming.rawHeaders[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (lower === 'authorization' && token !== undefined) continue;
    if (lower === 'host') headers.push(name, ownHosts.includes(value) ? theirHost : value);
    else if (lower === 'origin' && ownHosts.some((host) => value === `http://${host}`)) {
      // A page of our own origin; on a socket nobody has one.
      if (!('socketPath' in address)) headers.push(name, `http://${theirHost}`);
    } else if (lower !== 'connection') headers.push(name, value);
  }
  if (token !== undefined) headers.push('Authorization', `Bearer ${token}`);
  const options: RequestOptions = {
    ...address,
    method: incoming.method ?? 'GET',
    path,
    headers,
  };
  const upstream = request(options, (response) => {
    outgoing.writeHead(response.statusCode ?? 502, response.rawHeaders);
    outgoing.flushHeaders();
    response.pipe(outgoing);
    response.on('error', () => outgoing.destroy());
    response.on('aborted', () => outgoing.destroy());
  });
  upstream.on('error', () => outgoing.destroy());
  outgoing.on('close', () => upstream.destroy());
  incoming.pipe(upstream);
}
