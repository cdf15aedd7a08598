import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';

/**
 * Serves a web-standard handler with node:http, without buffering: the head goes out with the headers, every chunk as it comes, and a
 * client that goes away aborts `request.signal`.
 */
export function serveWeb(handle: (request: Request) => Promise<Response>): RequestListener {
  return (incoming, outgoing) => {
    answer(incoming, outgoing, handle).catch(() => outgoing.destroy());
  };
}

async function answer(incoming: IncomingMessage, outgoing: ServerResponse, handle: (request: Request) => Promise<Response>): Promise<void> {
  const gone = new AbortController();
  outgoing.once('close', () => gone.abort());
  const headers = new Headers();
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2)
    headers.append(incoming.rawHeaders[i] ?? '', incoming.rawHeaders[i + 1] ?? '');
  const parts: Buffer[] = [];
  for await (const part of incoming) parts.push(part as Buffer);
  const response = await handle(
    new Request(new URL(incoming.url ?? '/', `http://${incoming.headers.host ?? 'localhost'}`), {
      method: incoming.method ?? 'GET',
      headers,
      signal: gone.signal,
      ...(incoming.method === 'GET' || incoming.method === 'HEAD' ? {} : { body: Buffer.concat(parts) }),
    }),
  );
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (!response.body) {
    outgoing.end();
    return;
  }
  outgoing.flushHeaders();
  const body = Readable.fromWeb(response.body);
  outgoing.once('close', () => body.destroy());
  body.once('error', () => outgoing.destroy());
  body.pipe(outgoing);
}
