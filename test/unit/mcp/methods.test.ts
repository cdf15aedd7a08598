import assert from 'node:assert/strict';
import { classifyMethod, decodeHeaderValue, eraOf, errorBody } from '../../../src/mcp/methods.ts';

describe('classifyMethod', () => {
  for (const [method, kind] of Object.entries({
    initialize: 'session',
    'server/discover': 'session',
    'notifications/anything': 'session',
    'tools/list': 'session',
    'tools/call': 'tool',
    'resources/read': 'resource',
    'prompts/get': 'prompt',
    'completion/complete': 'completion',
    'Tools/call': 'unknown',
    'tools/call ': 'unknown',
    'tools/delete': 'unknown',
    'sampling/createMessage': 'unknown',
    constructor: 'unknown',
    '': 'unknown',
  }))
    it(`${JSON.stringify(method)} is ${kind}`, () => assert.equal(classifyMethod(method), kind));
});

describe('eraOf', () => {
  it('believes the body, then the header', () => {
    assert.equal(eraOf('2026-07-28', undefined), 'modern');
    assert.equal(eraOf(undefined, '2026-07-28'), 'modern');
    assert.equal(eraOf(undefined, '2027-01-01'), 'modern');
    assert.equal(eraOf(undefined, '2025-11-25'), 'legacy');
    assert.equal(eraOf(undefined, 'zzzz'), 'legacy');
    assert.equal(eraOf(undefined, undefined), 'legacy');
  });
});

describe('decodeHeaderValue', () => {
  it('decodes the base64 form and nothing else', () => {
    assert.equal(decodeHeaderValue(`=?base64?${Buffer.from('größe').toString('base64')}?=`), 'größe');
    assert.equal(decodeHeaderValue('=?base64??='), '');
    for (const plain of ['plain', '', '=?base64?', '=?BASE64?YQ==?=', ' =?base64?YQ==?=', '=?base64?YQ==?= '])
      assert.equal(decodeHeaderValue(plain), plain);
  });

  it('takes no base64 but the canonical, and nothing that is no UTF-8', () => {
    for (const payload of ['***', 'YQ', 'YQ=', 'YR==', 'YQ==\n', 'Y Q==', '_-8=', '/w==', '7aCA', 'wK8='])
      assert.equal(decodeHeaderValue(`=?base64?${payload}?=`), undefined, payload);
  });
});

describe('errorBody', () => {
  it('keeps the raw id', () => {
    assert.equal(
      errorBody('12345678901234567890', -31001, 'no "way"').toString(),
      '{"jsonrpc":"2.0","id":12345678901234567890,"error":{"code":-31001,"message":"no \\"way\\""}}',
    );
    assert.equal(errorBody(undefined, 1, 'x').toString(), '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}');
  });
});
