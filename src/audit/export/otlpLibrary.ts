/** What an export over OTLP takes from OpenTelemetry’s packages, by name, so that a bundle holds no more of them. */
export { OTLPLogExporter as Logs } from '@opentelemetry/exporter-logs-otlp-http';
export { OTLPTraceExporter as Traces } from '@opentelemetry/exporter-trace-otlp-http';
export { resourceFromAttributes } from '@opentelemetry/resources';
