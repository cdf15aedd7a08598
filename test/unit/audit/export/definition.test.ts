import assert from 'node:assert/strict';
import { readDefinitions } from '../../../../src/audit/export/definition.ts';

describe('definitions of exports', () => {
  const good = { name: 'siem', kind: 'webhook', url: 'https://siem.example/in', secret: 'siem-key' };
  const read = (more: object, base: object = good) => readDefinitions([{ ...base, ...more }])[0];

  it('are taken as they are', () => {
    for (const definition of [
      good,
      { ...good, headers: { Authorization: 'siem-token' }, ca: '/etc/ca.pem' },
      { name: 'otel', kind: 'otlp', url: 'http://127.0.0.1:4318', headers: { 'x-key': 'k' }, signals: ['logs'] },
      { name: 'log', kind: 'syslog', url: 'tls://logs.example:6514' },
      { name: 'log', kind: 'syslog', url: 'tcp://127.0.0.1:514' },
      { name: 'lake', kind: 'ocsf-webhook', url: 'https://lake.example/in' },
    ])
      assert.deepEqual(readDefinitions([definition]), [{ name: definition.name, definition }]);
  });

  it('that can’t be used come with the reason', () => {
    for (const [more, why] of [
      [{ url: 'nowhere' }, /no address/],
      [{ url: 'ftp://siem.example' }, /must be https/],
      [{ url: 'https://me:pass@siem.example' }, /user or a password/],
      [{ url: 'https://siem.example/?api_key=1' }, /seems to hold a secret/],
      [{ url: 'http://siem.example', headers: { a: 'b' } }, /in the clear/],
      [{ secret: undefined, kind: 'webhook' }, /secret/],
      [{ headers: { 'bad header': 'x' } }, /headers\.bad header/],
      [{ headers: { Authorization: 'Bearer abc.def/ghi' } }, /headers/],
      [{ kind: 'syslog', url: 'tls://logs.example', secret: undefined }, /secret|host and a port/],
      [{ kind: 'carrier pigeon' }, /kind/],
      [{ extra: 1 }, /extra|[Uu]nrecognized/],
      [{ name: '../x' }, /name/],
    ] as const)
      assert.match(read(more)?.problem ?? '', why, JSON.stringify(more));
    assert.deepEqual(readDefinitions('x'), []);
    assert.match(readDefinitions([good, good])[1]?.problem ?? '', /another export/);
    assert.equal(readDefinitions(Array.from({ length: 100 }, () => good)).length, 16);
  });
});
