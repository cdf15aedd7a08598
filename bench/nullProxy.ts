/**
 * The yardstick: a proxy that does nothing but pass requests and responses on, written the plain way. Listens on the socket given first,
 * passes on to the URL given second.
 */
import { Agent, createServer, request } from 'node:http';

const [, , socketPath = '', target = ''] = process.argv;
const url = new URL(target);
const agent = new Agent({ keepAlive: true });

const server = createServer({ keepAliveTimeout: 120_000 }, (incoming, outgoing) => {
  const upstream = request(
    {
      host: url.hostname,
      port: url.port,
      path: url.pathname,
      method: incoming.method ?? 'GET',
      headers: { ...incoming.headers, host: url.host },
      agent,
    },
    (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(outgoing);
    },
  );
  upstream.on('error', () => outgoing.destroy());
  incoming.pipe(upstream);
});
server.listen(socketPath, () => console.log(JSON.stringify({ socketPath })));
process.stdin.resume().once('end', () => process.exit(0));
