import assert from 'node:assert/strict';
import { createServer } from 'node:http';
// Of the official OpenTelemetry packages, the last one that has a decoder, generated out of opentelemetry-proto.
import generated from 'otlp-decoder/build/src/generated/root.js';
import type { AuditEvent } from '../../src/audit/export/event.ts';
import { OtlpSink } from '../../src/audit/export/otlp.ts';
import type { Sink } from '../../src/audit/export/sink.ts';
import { Recorder, bodyOf, listen } from '../support/recorder.ts';

/** What the official definitions make of a message. */
interface MessageType {
  fromObject(value: object): object;
  encode(message: object): { finish(): Uint8Array };
  decode(bytes: Uint8Array): object;
  toObject(message: object, options: object): Record<string, unknown>;
}
interface Collector {
  readonly v1: Readonly<Record<string, MessageType>>;
}
const { collector } = (generated as unknown as { opentelemetry: { proto: { collector: { logs: Collector; trace: Collector } } } })
  .opentelemetry.proto;
const REQUESTS: Readonly<Record<string, MessageType | undefined>> = {
  '/v1/logs': collector.logs.v1['ExportLogsServiceRequest'],
  '/v1/traces': collector.trace.v1['ExportTraceServiceRequest'],
};
/** Bytes are hex in OTLP’s JSON, not base64 (OTLP 1.x, “JSON Protobuf Encoding”). */
const HEX = new Set(['traceId', 'spanId', 'parentSpanId']);

/** The request as the official decoder has it; fails if the definitions do not know something in it, or take it for something else. */
function decoded(path: string, body: string): Record<string, unknown> {
  const type = REQUESTS[path] ?? assert.fail(`Nothing is taken at ${path}.`);
  const sent = JSON.parse(body, (key, value: unknown) => (HEX.has(key) ? Buffer.from(String(value), 'hex') : value)) as object;
  const got = type.toObject(type.decode(type.encode(type.fromObject(sent)).finish()), { longs: String });
  assert.deepEqual(plain(got), plain(sent));
  return plain(got) as Record<string, unknown>;
}

/** Numbers as text, since 64 bits are that in JSON; bytes as hex; without lists that are empty, which are as good as absent. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'number') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, of]) => !(Array.isArray(of) && of.length === 0))
      .map(([key, of]) => [key, plain(of)]),
  );
}

// The parts of a request that are looked at.
interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string };
}
interface LogsRequest {
  readonly resourceLogs: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeLogs: readonly { readonly logRecords: readonly LogRecord[] }[];
  }[];
}
interface LogRecord {
  readonly eventName: string;
  readonly severityText: string;
  readonly traceId: string;
  readonly attributes: readonly Attribute[];
}
interface TracesRequest {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly Span[] }[] }[];
}
interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code: string };
}
describe('OTLP', () => {
  let rec: Recorder;
  beforeEach(async () => {
    rec = new Recorder();
    await rec.start();
  });
  afterEach(() => rec.close());

  it('gives logs and spans to a collector, by the official exporters', async () => {
    const seen = new Map<string, unknown>();
    let status = 503;
    const server = createServer((request, response) => {
      void bodyOf(request).then((body) => {
        if (status === 200)
          seen.set(`${request.url ?? ''} ${request.headers['x-key']?.toString() ?? ''}`, decoded(request.url ?? '', body));
        response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
      });
    });
    const port = await listen(server);
    rec.onClose(() => server.close());
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    await rec.calls(2, { claims: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` } }, { totalMs: 12.5 });
    await rec.calls(1, { effect: 'deny' }, { result: 'denied' });
    rec.log.act({ act: 'resumed', window: 'w' });
    const sink = new OtlpSink({
      id: 'otlp',
      url: `http://127.0.0.1:${port}/`,
      signals: ['logs', 'traces'],
      headers: async () => ({ 'x-key': 'k' }),
      serviceVersion: '1',
    });
    const events: AuditEvent[] = [];
    const tee: Sink = {
      id: 'otlp',
      deliver: async (batch, signal) => {
        events.splice(0, events.length, ...batch);
        await sink.deliver(batch, signal);
      },
      close: () => sink.close(),
    };
    status = 400;
    const stream = rec.stream(tee);
    await stream.flush();
    assert.equal(stream.status.state, 'waiting');
    assert.match(stream.status.lastError ?? '', /collector did not take it/);
    status = 200;
    await stream.flush();
    assert.equal(stream.status.behind, 0);
    assert.equal(events.length, 4);
    const [logs] = (seen.get('/v1/logs k') as LogsRequest).resourceLogs;
    const attribute = (list: readonly Attribute[] | undefined, key: string) => list?.find((a) => a.key === key)?.value;
    assert.equal(attribute(logs?.resource.attributes, 'service.name')?.stringValue, 'culvert');
    const records = logs?.scopeLogs[0]?.logRecords ?? [];
    assert.deepEqual(
      records.map((r) => [r.eventName, r.severityText]),
      [
        ['culvert.call', 'INFO'],
        ['culvert.call', 'INFO'],
        ['culvert.call', 'WARN'],
        ['culvert.act', 'INFO'],
      ],
    );
    assert.deepEqual(
      records.map((r) => attribute(r.attributes, 'culvert.record.id')?.stringValue),
      events.map(({ id }) => id),
    );
    assert.equal(attribute(records[0]?.attributes, 'mcp.method.name')?.stringValue, 'tools/call');
    assert.equal(records[0]?.traceId, traceId);
    const spans = (seen.get('/v1/traces k') as TracesRequest).resourceSpans[0]?.scopeSpans[0]?.spans ?? [];
    assert.equal(spans.length, 3);
    assert.deepEqual(
      [spans[0]?.traceId, spans[0]?.parentSpanId, spans[0]?.name, spans[0]?.kind],
      [traceId, '00f067aa0ba902b7', 'tools/call echo', '3'],
    );
    assert.equal(BigInt(spans[0]?.endTimeUnixNano ?? 0) - BigInt(spans[0]?.startTimeUnixNano ?? 0), 12_500_000n);
    assert.equal(spans[2]?.status.code, '2');
    assert.equal(new Set(spans.map((s) => s.spanId)).size, 3);
  }).timeout(180_000);
});
