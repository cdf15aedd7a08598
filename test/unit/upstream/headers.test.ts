import assert from 'node:assert/strict';
import { headersToAgent, headersToUpstream, mediaTypeOf } from '../../../src/upstream/headers.ts';

describe('headersToUpstream', () => {
  it('keeps what the protocol needs and drops what is not the server’s business', () => {
    const out = headersToUpstream({
      host: 'localhost',
      authorization: 'Bearer ours',
      cookie: 'a=b',
      origin: 'http://x',
      referer: 'http://x',
      forwarded: 'for=1',
      'x-forwarded-for': '1',
      'x-forwarded-host': 'h',
      'sec-fetch-mode': 'cors',
      dpop: 'x',
      connection: 'keep-alive, X-Hop',
      'x-hop': '1',
      'keep-alive': 'timeout=5',
      'proxy-authorization': 'x',
      'transfer-encoding': 'chunked',
      te: 'trailers',
      upgrade: 'h2c',
      expect: '100-continue',
      'content-length': '5',
      'accept-encoding': 'gzip, br',
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'mcp-protocol-version': '2025-06-18',
      'mcp-session-id': 's',
      'mcp-param-region': 'eu',
      'last-event-id': '7',
      traceparent: 't',
    });
    assert.deepEqual(out, {
      'accept-encoding': 'identity',
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'mcp-protocol-version': '2025-06-18',
      'mcp-session-id': 's',
      'mcp-param-region': 'eu',
      'last-event-id': '7',
      traceparent: 't',
    });
  });
});

describe('headersToAgent', () => {
  it('drops what the editor would act on and what belongs to the connection', () => {
    const out = headersToAgent({
      'www-authenticate': 'Bearer',
      'proxy-authenticate': 'Basic',
      'set-cookie': ['a=b'],
      'alt-svc': 'h3',
      'strict-transport-security': 'x',
      'access-control-allow-origin': '*',
      'access-control-expose-headers': 'x',
      connection: 'x-hop',
      'x-hop': '1',
      'content-length': '5',
      'content-encoding': 'gzip',
      'content-type': 'application/json',
      'mcp-session-id': 's',
      'x-other': 'y',
    });
    assert.deepEqual(out, { 'content-type': 'application/json', 'mcp-session-id': 's', 'x-other': 'y' });
  });
});

describe('mediaTypeOf', () => {
  it('is lower case, without parameters', () => {
    assert.equal(mediaTypeOf({ 'content-type': 'Text/Event-Stream ; charset=utf-8' }), 'text/event-stream');
    assert.equal(mediaTypeOf({}), '');
  });
});
