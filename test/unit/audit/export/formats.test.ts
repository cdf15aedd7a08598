import assert from 'node:assert/strict';
import { addressOf, attributesOf, errorTypeOf, traceOf } from '../../../../src/audit/export/attributes.ts';
import { cefOf } from '../../../../src/audit/export/cef.ts';
import { fateOf, type ActEvent, type CallEvent } from '../../../../src/audit/export/event.ts';
import { ocsfOf } from '../../../../src/audit/export/ocsf.ts';
import { frame } from '../../../../src/audit/export/syslogSink.ts';
import { WEBHOOK_TOLERANCE_S, isSigned, signatureOf } from '../../../../src/audit/export/webhookSink.ts';
import { endedGrants } from '../../../../src/audit/export/endedGrants.ts';
import { evidenceHtml, evidenceMarkdown, type Evidence } from '../../../../src/audit/export/evidence.ts';
import { ActName, parseBody, type Intent, type Outcome } from '../../../../src/audit/record.ts';
import { ocsfProblems } from '../../../support/ocsf.ts';
import { intent, outcome } from '../samples.ts';

const call = (more: Partial<Intent> = {}, end: Partial<Outcome> | null = {}): CallEvent => ({
  kind: 'call',
  id: 'chain-1:2',
  chain: 'chain-1',
  n: 2,
  at: 1_767_323_045_000,
  endedAt: 1_767_323_045_012,
  hash: 'ab'.repeat(32),
  exchange: 'x-1',
  intent: { ...intent, ...more },
  outcome: end === null ? undefined : { ...outcome, ...end },
});
const act: ActEvent = {
  kind: 'act',
  id: 'chain-1:3',
  chain: 'chain-1',
  n: 3,
  at: 1_767_323_045_000,
  hash: 'cd'.repeat(32),
  act: { act: 'grant-revoked', window: 'win-1', server: 'srv-1', subject: 'allow echo' },
};

describe('formats of exports', () => {
  it('names things as OpenTelemetry does', () => {
    const attributes = attributesOf(
      call(
        {
          protocol: '2026-07-28',
          rpcId: '"7"',
          session: '0123',
          arguments: '{}',
          origin: 'https://api.example:8443',
          claims: { clientName: 'Claude', conversationId: 'c' },
        },
        { result: 'rpc-error', rpcCode: -32602, stages: { authorize: 0.5 } },
      ),
    );
    for (const [name, value] of Object.entries({
      'mcp.method.name': 'tools/call',
      'mcp.session.id': '0123',
      'mcp.protocol.version': '2026-07-28',
      'jsonrpc.request.id': '7',
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'echo',
      'gen_ai.conversation.id': 'c',
      'server.address': 'api.example',
      'server.port': 8443,
      'network.transport': 'tcp',
      'error.type': '-32602',
      'rpc.response.status_code': '-32602',
      'culvert.stage.authorize_ms': 0.5,
    }))
      assert.equal(attributes[name], value, name);
    assert.equal(attributesOf(call({ method: 'resources/read', tool: 'file:///a' }))['mcp.resource.uri'], 'file:///a');
    assert.equal(attributesOf(call({ method: 'prompts/get', tool: 'p' }))['gen_ai.prompt.name'], 'p');
    assert.equal(attributesOf(call({ origin: 'stdio:abc' }))['network.transport'], 'pipe');
    assert.equal(attributesOf(act)['culvert.act'], 'grant-revoked');
    assert.equal(errorTypeOf(call({}, { result: 'tool-error' })), 'tool_error');
    assert.deepEqual(addressOf('http://[::1]:80'), { host: '::1', port: 80 });
  });

  it('takes only a good trace context', () => {
    const id = '4bf92f3577b34da6a3ce929d0e0e4736';
    assert.deepEqual(traceOf(`00-${id}-00f067aa0ba902b7-01`), { traceId: id, spanId: '00f067aa0ba902b7', sampled: true });
    for (const bad of [
      undefined,
      '',
      'x',
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      `00-${id}-${'0'.repeat(16)}-01`,
      `ff-${id}-00f067aa0ba902b7-01`,
    ])
      assert.equal(traceOf(bad), undefined);
  });

  it('writes CEF that can be read back, whatever is in it', () => {
    const nasty = 'a|b=c\\d\ne\r\nf';
    const line = cefOf(
      call({ tool: nasty, serverLabel: nasty, arguments: nasty, effect: 'deny', reason: nasty }, { result: 'denied' }),
      '1.2|3',
    );
    assert.ok(!/[\r\n]/.test(line));
    const header =
      /^CEF:0\|((?:[^\\|]|\\.)*)\|((?:[^\\|]|\\.)*)\|((?:[^\\|]|\\.)*)\|((?:[^\\|]|\\.)*)\|((?:[^\\|]|\\.)*)\|(\d+)\|(.*)$/.exec(line) ??
      assert.fail(line);
    assert.equal(header[3], '1.2\\|3');
    assert.deepEqual([header[4], header[6]], ['call.denied', '6']);
    const fields = new Map(
      [...(header[7] ?? '').matchAll(/(\w+)=((?:[^\\=]|\\.)*?)(?= \w+=|$)/g)].map(([, key = '', value = '']) => [
        key,
        value.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c)),
      ]),
    );
    assert.equal(fields.get('cs1'), nasty.replace('\r\n', '\n'));
    assert.equal(fields.get('cs1Label'), 'tool');
    assert.equal(fields.get('cs6'), nasty.replace('\r\n', '\n'));
    assert.equal(fields.get('externalId'), 'chain-1:2');
    assert.match(cefOf(act, '1'), /^CEF:0\|Culvert\|Culvert\|1\|grant-revoked\|grant revoked\|1\|rt=1767323045000 /);
  });

  it('frames syslog by octets', () => {
    assert.equal(frame('é').toString('latin1'), `2 ${Buffer.from('é').toString('latin1')}`);
  });

  it('writes OCSF events that the published schema takes, whatever is in the record', () => {
    const claims = {
      clientName: 'Claude',
      clientVersion: '1',
      conversationId: 'c',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    };
    const full = { claims, protocol: '2026-07-28', arguments: '{"a":1}', grant: 'grant-1', policyDigest: 'ab', task: 'task-1' };
    for (const event of [
      call(),
      call(full, { stages: { parse: 0.5 }, found: [{ rule: 'r', action: 'redacted' }], findings: 1 }),
      call(full, { result: 'rpc-error', rpcCode: -32602, error: 'no' }),
      call({ effect: 'deny' }, { result: 'denied' }),
      call({}, { result: 'closed' }),
      call({}, null),
      call({ origin: 'stdio:x', method: 'tools/list' }),
      call({ origin: 'http://[::1]:80' }),
      { ...act, act: { act: 'paused', window: 'w' } } satisfies ActEvent,
      ...ActName.options.map((name): ActEvent => ({ ...act, act: { ...act.act, act: name } })),
    ]) {
      const o = ocsfOf(event, '1');
      assert.deepEqual(ocsfProblems(o), [], JSON.stringify(o));
      assert.equal(o['type_uid'], 600_300 + Number(o['activity_id']));
    }
    // The schema finds what is wrong.
    const { api, ...without } = ocsfOf(call(), '1');
    assert.ok(api);
    for (const wrong of [without, { ...without, api, more: 1 }, { ...without, api: {} }, { ...without, api, status_id: 7 }])
      assert.notDeepEqual(ocsfProblems(wrong), []);
  });

  it('says in OCSF what was done with a call', () => {
    const denied = ocsfOf(call({ effect: 'deny' }, { result: 'denied' }), '1');
    assert.deepEqual([denied['action_id'], denied['disposition_id'], denied['severity_id']], [2, 2, 3]);
    assert.equal(ocsfOf(call({}, { findings: 1 }), '1')['severity_id'], 4);
    assert.equal(ocsfOf(act, '1')['activity_id'], 4);
  });

  it('signs webhooks so that neither body nor time can be changed', () => {
    const secret = ['wh', 'sec'].join('-');
    const header = signatureOf(secret, 1_000, 'body');
    assert.ok(isSigned(secret, header, 'body', 1_000 + WEBHOOK_TOLERANCE_S));
    assert.ok(!isSigned(secret, header, 'body', 1_001 + WEBHOOK_TOLERANCE_S));
    assert.ok(!isSigned(secret, header, 'Body', 1_000));
    assert.ok(!isSigned('other', header, 'body', 1_000));
    assert.ok(!isSigned(secret, header.replace('t=1000', 't=1001'), 'body', 1_000));
    assert.ok(!isSigned(secret, 'nonsense', 'body', 1_000));
  });

  it('knows what became of a call', () => {
    assert.equal(fateOf(call()), 'ok');
    assert.equal(fateOf(call({ effect: 'deny' }, { result: 'denied' })), 'denied');
    assert.equal(fateOf(call({}, { result: 'closed' })), 'stopped');
    assert.equal(fateOf(call({}, { result: 'cancelled' })), 'failed');
    assert.equal(fateOf({ intent, outcome: undefined }), 'unknown');
  });

  it('reads entries of before version 2, and refuses what is none', () => {
    assert.deepEqual(parseBody('intent', JSON.stringify(intent)), intent);
    assert.deepEqual(parseBody('outcome', JSON.stringify({ ...outcome, later: 1 })), outcome);
    assert.equal(parseBody('outcome', '{"result":"great"}'), undefined);
    assert.equal(parseBody('act', 'x'), undefined);
  });

  it('tells which grants were in force in a period and are no more', () => {
    const given = (id: string, at: number, until?: number) => ({
      at,
      act: {
        act: 'grant-given',
        server: 's',
        subject: `allow ${id}`,
        detail: 'by user',
        id,
        window: 'w',
        ...(until === undefined ? {} : { until }),
      } as const,
    });
    const revoked = (id: string, at: number) => ({
      at,
      act: { act: 'grant-revoked', server: 's', subject: `allow ${id}`, id, window: 'w' } as const,
    });
    const acts = [
      given('long ago', 1),
      given('still', 2),
      given('ran out before', 3, 50),
      given('ran out', 4, 120),
      given('ran out, swept away', 5, 130),
      given('once', 6),
      given('revoked', 7, 500),
      { at: 8, act: { act: 'paused', window: 'w' } as const },
      revoked('long ago', 60),
      revoked('of before the record', 110),
      revoked('revoked', 140),
      revoked('ran out, swept away', 150),
    ];
    assert.deepEqual(
      endedGrants(acts, { from: 100, to: 200 }, new Set(['still'])).map(({ what, givenAt, endedAt, how }) => [what, givenAt, endedAt, how]),
      [
        ['allow ran out', 4, 120, 'ran out'],
        ['allow ran out, swept away', 5, 130, 'ran out'],
        ['allow once', 6, undefined, 'used up, or ended with its task or window'],
        ['allow revoked', 7, 140, 'revoked'],
        ['allow of before the record', undefined, 110, 'revoked'],
      ],
    );
  });

  it('lets nothing of what agents say become part of a report', () => {
    const nasty = '<script>alert(1)</script> | [x](javascript:1) `code`';
    const evidence: Evidence = {
      from: 0,
      to: 1,
      made: 2,
      version: '1',
      permissions: [{ who: nasty, server: 's', what: nasty, effect: 'allow', until: '', givenBy: '' }],
      ended: [{ server: 'srv-1', what: nasty, givenAt: undefined, givenBy: undefined, endedAt: 0, how: 'revoked' }],
      moreEnded: false,
      summary: {
        timeline: [
          { hour: 0, server: 'srv-1', effect: 'deny', result: 'denied', calls: 3, findings: 0, requestBytes: 1, responseBytes: 1 },
        ],
        heat: [],
        latency: [],
        credentials: [],
      },
      labels: new Map([['srv-1', nasty]]),
      stopped: [{ seq: 1, exchange: 'x', at: 0, intent: { ...intent, tool: nasty, effect: 'deny' }, outcome }],
      moreStopped: true,
      acts: [],
      moreActs: true,
      verification: { entries: 1, chains: 1, checkpoints: 1, problems: [], faults: [], endings: [], dropped: 4 },
      keyThumbprint: 'k',
    };
    const html = evidenceHtml(evidence);
    assert.ok(!html.includes('<script>') && html.includes('&#60;script&#62;'));
    const markdown = evidenceMarkdown(evidence);
    assert.ok(!markdown.includes('<script>') && !markdown.includes('[x](') && !markdown.includes('`code`'));
    assert.match(markdown, /all of it holds/);
    assert.match(markdown, /4 entries were dropped/);
  });
});
