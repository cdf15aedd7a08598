import { createHash } from 'node:crypto';
import type { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import type { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import type { StopSignal } from '../../common/stop.ts';
import { attributesOf, errorTypeOf, traceOf } from './attributes.ts';
import { fateOf, sentenceOf, type AuditEvent, type CallEvent } from './event.ts';
import { SinkError, type Sink } from './sink.ts';

type LogRecord = Parameters<OTLPLogExporter['export']>[0][number];
type Span = Parameters<OTLPTraceExporter['export']>[0][number];

export interface OtlpOptions {
  readonly id: string;
  /** Base of the collector, `https://collector.example:4318`; `/v1/logs` and `/v1/traces` are added. */
  readonly url: string;
  readonly signals: readonly ('logs' | 'traces')[];
  /** Headers such as an authorization, asked for when the first delivery is made. Not kept anywhere else. */
  headers?(): Promise<Readonly<Record<string, string>>>;
  /** Certificates that vouch for the collector, PEM, instead of those of the system. */
  readonly ca?: string;
  readonly serviceVersion: string;
}

// Numbers of the enumerations of OpenTelemetry's API (logs.proto, and its SpanKind and SpanStatusCode): its modules are loaded later.
/* eslint-disable @typescript-eslint/no-unsafe-enum-assignment */
const SEVERITY: Readonly<Record<'info' | 'warn' | 'error', NonNullable<LogRecord['severityNumber']>>> = { info: 9, warn: 13, error: 17 };
const SPAN_KIND_CLIENT: Span['kind'] = 2;
const STATUS: Readonly<Record<'unset' | 'error', Span['status']['code']>> = { unset: 0, error: 2 };
/* eslint-enable @typescript-eslint/no-unsafe-enum-assignment */
const SCOPE = { name: 'culvert' };
/** Longest that one request may take, milliseconds. */
const REQUEST_MS = 20_000;

/**
 * Logs and traces for any OTLP collector over HTTP with JSON, by the official exporters. They are loaded with the first delivery, and used
 * without their SDK: that would drop events when a collector is away, while here the record itself is the spool. A log record carries the
 * event's id as `culvert.record.id`; a span's id is made of the exchange, so that a repeated delivery is the same span.
 */
export class OtlpSink implements Sink {
  readonly id: string;
  readonly #options: OtlpOptions;
  #exporters:
    | Promise<{
        readonly logs: OTLPLogExporter | undefined;
        readonly traces: OTLPTraceExporter | undefined;
        readonly resource: LogRecord['resource'];
      }>
    | undefined;

  constructor(options: OtlpOptions) {
    this.id = options.id;
    this.#options = options;
  }

  async deliver(events: readonly AuditEvent[], signal: StopSignal): Promise<void> {
    if (signal.aborted) throw new SinkError('The delivery was stopped.', true);
    this.#exporters ??= this.#load().catch((error: unknown) => {
      this.#exporters = undefined;
      throw error;
    });
    const { logs, traces, resource } = await this.#exporters;
    await Promise.all([
      logs &&
        exported((done) =>
          logs.export(
            events.map((event) => logOf(event, resource)),
            done,
          ),
        ),
      traces &&
        exported((done) =>
          traces.export(
            events.filter((event) => event.kind === 'call').map((event) => spanOf(event, resource)),
            done,
          ),
        ),
    ]);
  }

  close(): void {
    void this.#exporters?.then(({ logs, traces }) => Promise.all([logs?.shutdown(), traces?.shutdown()])).catch(() => undefined);
  }

  async #load() {
    const { signals, url, ca, serviceVersion } = this.#options;
    const { Logs, Traces, resourceFromAttributes } = await import('./otlpLibrary.ts');
    const base = url.replace(/\/+$/, '');
    const config = (path: string, given: Readonly<Record<string, string>>) => ({
      url: `${base}${path}`,
      headers: { ...given },
      timeoutMillis: REQUEST_MS,
      httpAgentOptions: { keepAlive: true, ...(ca === undefined ? {} : { ca }) },
    });
    const given = (await this.#options.headers?.()) ?? {};
    return {
      logs: signals.includes('logs') ? new Logs(config('/v1/logs', given)) : undefined,
      traces: signals.includes('traces') ? new Traces(config('/v1/traces', given)) : undefined,
      resource: resourceFromAttributes({ 'service.name': 'culvert', 'service.version': serviceVersion }),
    };
  }
}

/** Outcome of an export as OpenTelemetry tells it: code 0 is success. */
interface ExportResult {
  readonly code: number;
  readonly error?: Error;
}

function exported(start: (done: (result: ExportResult) => void) => void): Promise<void> {
  return new Promise((resolve, reject) =>
    start(({ code, error }) => {
      if (code === 0) return resolve();
      const status = (error as { code?: unknown } | undefined)?.code;
      const retriable = typeof status !== 'number' || status === 429 || status >= 500;
      reject(new SinkError(`The collector did not take it: ${error?.message ?? 'no reason given'}.`, retriable, { cause: error }));
    }),
  );
}

/** An event as a log record. */
function logOf(event: AuditEvent, resource: LogRecord['resource']): LogRecord {
  const call = event.kind === 'call' ? event : undefined;
  const span = call && contextOf(call);
  const fate = call && fateOf(call);
  const level = fate === 'stopped' || (call?.outcome?.findings ?? 0) > 0 ? 'error' : fate === undefined || fate === 'ok' ? 'info' : 'warn';
  const at = event.kind === 'call' ? (event.endedAt ?? event.at) : event.at;
  return {
    hrTime: hrTime(at),
    hrTimeObserved: hrTime(at),
    severityNumber: SEVERITY[level],
    severityText: level.toUpperCase(),
    eventName: event.kind === 'call' ? 'culvert.call' : 'culvert.act',
    body: sentenceOf(event),
    attributes: attributesOf(event),
    droppedAttributesCount: 0,
    resource,
    instrumentationScope: SCOPE,
    ...(span ? { spanContext: span } : {}),
  };
}

/** A call as a span, below the one that the client names. */
function spanOf(event: CallEvent, resource: LogRecord['resource']): Span {
  const { intent, outcome } = event;
  const ms = outcome?.totalMs ?? 0;
  const parent = traceOf(intent.claims['traceparent']);
  const error = errorTypeOf(event);
  const ended = event.endedAt ?? event.at;
  return {
    name:
      intent.method === 'tools/call' || intent.method === 'prompts/get' ? `${intent.method} ${intent.tool ?? ''}`.trim() : intent.method,
    kind: SPAN_KIND_CLIENT,
    spanContext: () => contextOf(event),
    ...(parent
      ? { parentSpanContext: { traceId: parent.traceId, spanId: parent.spanId, traceFlags: parent.sampled ? 1 : 0, isRemote: true } }
      : {}),
    // The end is measured; the beginning follows from the monotonic length.
    startTime: hrTime(outcome ? ended - ms : event.at),
    endTime: hrTime(ended),
    duration: hrTime(ms),
    status: error === undefined ? { code: STATUS.unset } : { code: STATUS.error, message: outcome?.error ?? error },
    attributes: attributesOf(event),
    links: [],
    events: [],
    ended: true,
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

/** The client's trace, else one for the conversation, else one for the call alone. */
function contextOf({ intent, exchange }: CallEvent): { readonly traceId: string; readonly spanId: string; readonly traceFlags: number } {
  const named = traceOf(intent.claims['traceparent']);
  const conversation = intent.claims['conversationId'];
  const traceId = named?.traceId ?? digest(`trace ${conversation === undefined ? exchange : `${intent.window} ${conversation}`}`, 32);
  return { traceId, spanId: digest(`span ${exchange}`, 16), traceFlags: 1 };
}

function digest(text: string, digits: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, digits);
}

/** Seconds and nanoseconds. */
function hrTime(ms: number): [number, number] {
  const seconds = Math.floor(ms / 1_000);
  return [seconds, Math.round((ms - seconds * 1_000) * 1e6)];
}
