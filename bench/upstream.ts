/**
 * The server behind the benchmark, as lean as it gets: answers `tools/call` with a JSON result of the size that `arguments.bytes` asks
 * for. Run as a process of its own with the expected secret as argument; prints `{"url":…}` when it listens.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resultText } from './payload.ts';

const secret = process.argv[2] ?? '';
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

const server = createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    if (request.method !== 'POST') {
      response.writeHead(request.method === 'DELETE' ? 200 : 405).end();
      return;
    }
    if (request.headers.authorization !== `Bearer ${secret}`) {
      response.writeHead(401).end();
      return;
    }
    const { id, method, params } = JSON.parse(Buffer.concat(parts).toString()) as {
      id?: number;
      method: string;
      params?: { arguments?: { bytes?: number } };
    };
    if (id === undefined) {
      response.writeHead(202).end();
      return;
    }
    const head = `{"jsonrpc":"2.0","id":${JSON.stringify(id)}`;
    let body = `${head},"result":{}}`;
    if (method === 'tools/call') body = head + rest(params?.arguments?.bytes ?? 0);
    else if (method === 'initialize')
      body = `${head},"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1.0.0"}}}`;
    else if (method === 'tools/list')
      body = `${head},"result":{"tools":[{"name":"fetch","description":"Returns text","inputSchema":{"type":"object"}}]}}`;
    const bytes = Buffer.from(body);
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': bytes.length,
      ...(method === 'initialize' && { 'mcp-session-id': 'bench-session' }),
    });
    response.end(bytes);
  });
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp` })));
process.stdin.resume().once('end', () => process.exit(0));
