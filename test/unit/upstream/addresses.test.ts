import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import fc from 'fast-check';
import { UpstreamError } from '../../../src/common/errors.ts';
import {
  configuredRule,
  guardedLookup,
  isLocalhost,
  kindOf,
  publicOnly,
  refuseHost,
  type AddressKind,
  type AddressRule,
  type Resolve,
} from '../../../src/upstream/addresses.ts';

describe('kindOf', () => {
  for (const [kind, addresses] of Object.entries({
    public: [
      '1.1.1.1',
      '8.8.8.8',
      '172.15.255.255',
      '172.32.0.0',
      '100.63.0.1',
      '100.128.0.1',
      '2606:4700::1111',
      '2a00::1',
      '64:ff9b::808:808',
      '::ffff:8.8.8.8',
      '2002:808:808::',
    ],
    private: [
      '10.0.0.1',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '100.64.0.1',
      '100.127.255.255',
      '198.18.0.1',
      '198.19.255.255',
      'fc00::1',
      'fdff::1',
      'fec0::1',
      '::ffff:10.0.0.1',
      '64:ff9b::a00:1',
      '2002:a00:1::',
      '64:ff9b:1::1',
    ],
    loopback: [
      '127.0.0.1',
      '127.255.255.255',
      '0.0.0.0',
      '0.1.2.3',
      '::1',
      '::',
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '::127.0.0.1',
      '0:0:0:0:0:ffff:7f00:0001',
      '64:ff9b::127.0.0.1',
      '2002:7f00:1::',
      '::ffff:0:127.0.0.1',
    ],
    'link-local': ['169.254.0.1', '169.254.255.255', 'fe80::1', 'febf::1', 'fe80::1%eth0', '::ffff:169.254.1.1'],
    metadata: [
      '169.254.169.254',
      '169.254.170.2',
      'fd00:ec2::254',
      'fd20:ce::254',
      '100.100.100.200',
      '168.63.129.16',
      '192.0.0.192',
      '::ffff:169.254.169.254',
      '::ffff:a9fe:a9fe',
      '64:ff9b::169.254.169.254',
      '2002:a9fe:a9fe::',
    ],
    multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1', 'ff05::1:3'],
    reserved: [
      '240.0.0.1',
      '255.255.255.255',
      '192.0.2.1',
      '198.51.100.1',
      '203.0.113.9',
      '2001:db8::1',
      '2001::1',
      '100::1',
      'nonsense',
      '',
      '1.2.3',
    ],
  } satisfies Record<AddressKind, string[]>))
    it(`${kind}: ${addresses.length} addresses`, () => {
      for (const address of addresses) assert.equal(kindOf(address), kind, address);
    });

  it('an address of IPv4 means the same in each of its disguises', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const kind = kindOf(address);
        for (const form of [`::ffff:${address}`, `64:ff9b::${address}`, `::ffff:0:${address}`]) assert.equal(kindOf(form), kind, form);
      }),
      { seed: 3, numRuns: 500 },
    );
  });

  it('does not depend on how IPv6 is written', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
        assert.equal(kindOf(address), kindOf(canonical), address);
        assert.equal(kindOf(address.toUpperCase()), kindOf(canonical));
      }),
      { seed: 3, numRuns: 500 },
    );
  });
});

describe('configuredRule', () => {
  const one = (rule: AddressRule, kind: AddressKind) => rule(kind, [kind]);
  const allowed = (name: string, proven: boolean) =>
    (['public', 'private', 'loopback', 'link-local', 'metadata', 'multicast', 'reserved'] as const).filter((kind) =>
      one(configuredRule(name, proven), kind),
    );

  it('localhost is this machine and nothing else', () => {
    for (const name of ['localhost', 'LOCALHOST', 'localhost.', 'dev.localhost']) {
      assert.deepEqual(allowed(name, false), ['loopback'], name);
      assert.ok(isLocalhost(name));
    }
    assert.ok(!isLocalhost('localhost.example.com'));
  });

  it('a name that only a local network gives out may be anything there, but no metadata', () => {
    for (const name of [
      'devbox',
      'nas.local',
      'mcp.internal',
      'metadata.google.internal',
      'a.b.lan',
      'x.home.arpa',
      'app.test',
      'x.LOCAL.',
    ])
      assert.deepEqual(allowed(name, false), ['public', 'private', 'loopback', 'link-local', 'reserved'], name);
  });

  it('a public name leads to public addresses, and to private ones if TLS proves it or they were there first', () => {
    for (const name of ['mcp.example.com', 'local.example.com', 'internal.co', 'mylocal', 'x.localhost.com'].filter((n) =>
      n.includes('.'),
    )) {
      assert.deepEqual(allowed(name, true), ['public', 'private'], name);
      assert.deepEqual(allowed(name, false), ['public', 'private'], name);
    }
    const unproven = configuredRule('mcp.example.com', false);
    assert.ok(one(unproven, 'public'));
    assert.ok(!one(unproven, 'private'), 'public first, private later: rebinding');
    assert.ok(one(unproven, 'public'));
    const company = configuredRule('mcp.example.com', false);
    assert.ok(one(company, 'private'));
    assert.ok(one(company, 'public') && one(company, 'private'));
    const proven = configuredRule('mcp.example.com', true);
    assert.ok(one(proven, 'public') && one(proven, 'private'));
    assert.ok(!one(proven, 'loopback'));
  });
});

describe('guardedLookup', () => {
  const resolving =
    (...addresses: string[]): Resolve =>
    (_name, options, callback) => {
      assert.equal(options.all, true);
      callback(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    };
  const look = (allow: AddressRule, resolve: Resolve, all = true) =>
    new Promise<string | LookupAddress[]>((done, fail) => {
      guardedLookup({ allow, resolve })('mcp.example.com', { all }, (error, address) => (error ? fail(error) : done(address)));
    });

  it('gives what is allowed, all or the first', async () => {
    const mixed = resolving('127.0.0.1', '1.1.1.1', '::1', '2606::1');
    assert.deepEqual(await look(publicOnly, mixed), [
      { address: '1.1.1.1', family: 4 },
      { address: '2606::1', family: 6 },
    ]);
    assert.equal(await look(publicOnly, mixed, false), '1.1.1.1');
  });

  for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1', '169.254.169.254', 'fe80::1', 'fd00:ec2::254', '10.1.2.3'])
    it(`refuses a name that leads to ${address} where only the public may be reached`, () =>
      assert.rejects(look(publicOnly, resolving(address)), (error: unknown) => {
        assert.ok(error instanceof UpstreamError);
        assert.deepEqual([error.code, error.leg], ['CULVERT_UPSTREAM_ADDRESS', 'resolve']);
        assert.ok(
          error.message.startsWith(`mcp.example.com leads to ${address}, `) && error.message.includes('Edit Server'),
          error.message,
        );
        return true;
      }));

  it('passes on what the resolver says', async () => {
    const missing = Object.assign(new Error('no'), { code: 'ENOTFOUND' });
    await assert.rejects(
      look(publicOnly, (_name, _options, callback) => callback(missing, [])),
      missing,
    );
    await assert.rejects(look(publicOnly, resolving()), { code: 'CULVERT_UPSTREAM_NOT_FOUND' });
  });

  it('refuses an address in place of a name, which no lookup sees, and names that only a local network gives out', () => {
    for (const host of ['127.0.0.1', '[::1]', '[::ffff:a9fe:a9fe]', '169.254.169.254'])
      assert.equal(refuseHost(host, publicOnly)?.code, 'CULVERT_UPSTREAM_ADDRESS', host);
    for (const host of ['localhost', 'devbox', 'x.internal', 'nas.local.'])
      assert.equal(refuseHost(host, publicOnly)?.leg, 'resolve', host);
    for (const host of ['1.1.1.1', '[2606::1]', 'example.com', 'local.example'])
      assert.equal(refuseHost(host, publicOnly), undefined, host);
  });
});
