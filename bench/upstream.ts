/**
 * The server behind the benchmark, as lean as it gets: answers `tools/call` with a JSON result of the size that `arguments.bytes` asks
 * for, or, with `arguments.events`, with so many events of that size before a short answer. A GET opens a stream that stays silent. Run as a process of its own with the expected secret as argument; prints `{"url":…}` when it listens.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resultText } from './payload.ts';

const secret = process.argv[2] ?? '';
let sessions = 0;
/** What stands after the id, by size. */
const prepared = new Map<number, string>();

function rest(bytes: number): string {
  let text = prepared.get(bytes);
  if (text === undefined) {
    text = `,"result":{"content":[{"type":"text","text":${JSON.stringify(resultText(bytes))}}]}}`;
    prepared.set(bytes, text);
  }
  return text;
}

/** Between the first event and the answer, milliseconds: the two must not travel together. */
const PAUSE_MS = 3;

/** Resolves when the reader has caught up, or is gone. */
function caughtUp(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

/** Events of a size, as one chunk each; waits while the reader is behind. */
async function stream(response: ServerResponse, head: string, events: number, bytes: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  const event = Buffer.from(
    `event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"message":${JSON.stringify(resultText(bytes))}}}\n\n`,
  );
  for (let i = 0; i < events && !response.destroyed; i++) if (!response.write(event)) await caughtUp(response);
  setTimeout(() => response.end(`event: message\ndata: ${head},"result":{"content":[]}}\n\n`), PAUSE_MS);
}

const server = createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' }).flushHeaders();
      return;
    }
    if (request.method !== 'POST') {
      response.writeHead(200).end();
      return;
    }
    if (request.headers.authorization !== `Bearer ${secret}`) {
      response.writeHead(401).end();
      return;
    }
    const { id, method, params } = JSON.parse(Buffer.concat(parts).toString()) as {
      id?: number;
      method: string;
      params?: { arguments?: { bytes?: number; events?: number } };
    };
    if (id === undefined) {
      response.writeHead(202).end();
      return;
    }
    const head = `{"jsonrpc":"2.0","id":${JSON.stringify(id)}`;
    const { bytes: size = 0, events } = params?.arguments ?? {};
    if (method === 'tools/call' && events !== undefined) {
      void stream(response, head, events, size);
      return;
    }
    let body = `${head},"result":{}}`;
    if (method === 'tools/call') body = head + rest(size);
    else if (method === 'initialize')
      body = `${head},"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1.0.0"}}}`;
    else if (method === 'tools/list')
      body = `${head},"result":{"tools":[{"name":"fetch","description":"Returns text","inputSchema":{"type":"object"}}]}}`;
    const bytes = Buffer.from(body);
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': bytes.length,
      ...(method === 'initialize' && { 'mcp-session-id': `bench-session-${++sessions}` }),
    });
    response.end(bytes);
  });
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp` })));
process.stdin.resume().once('end', () => process.exit(0));
