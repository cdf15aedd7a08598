import type { StopSignal } from '../../common/stop.ts';
import { messageOf } from '../../common/errors.ts';
import type { ExportDefinition } from './definition.ts';
import type { AuditEvent } from './event.ts';
import { OtlpSink } from './otlp.ts';
import { SinkError, type Sink } from './sink.ts';
import { SyslogSink } from './syslogSink.ts';

/** What sinks are made with. */
export interface SinkParts {
  /** Value of an export secret. */
  secret(name: string): Promise<string | undefined>;
  /** Content of a PEM file. */
  readFile(path: string): Promise<string>;
  /** Milliseconds since the epoch. */
  now(): number;
  /** Culvert's. */
  readonly version: string;
  /** Proxies on the way out: variables as curl reads them. */
  proxies?(): Readonly<Record<string, string | undefined>>;
}

/** The sink that a definition describes. It is made with the first delivery, and anew after one that failed: files and secrets may be others then. */
export function sinkFor(definition: ExportDefinition, parts: SinkParts): Sink {
  return new LazySink(definition.name, () => make(definition, parts));
}

class LazySink implements Sink {
  readonly id: string;
  readonly #make: () => Promise<Sink>;
  #sink: Promise<Sink> | undefined;
  #closed = false;

  constructor(id: string, make: () => Promise<Sink>) {
    this.id = id;
    this.#make = make;
  }

  async deliver(events: readonly AuditEvent[], signal: StopSignal): Promise<void> {
    this.#sink ??= this.#make();
    let sink: Sink;
    try {
      sink = await this.#sink;
    } catch (error) {
      this.#sink = undefined;
      throw error;
    }
    if (this.#closed) throw new SinkError('The export was stopped.', true);
    await sink.deliver(events, signal);
  }

  close(): void {
    this.#closed = true;
    void this.#sink?.then((sink) => sink.close()).catch(() => undefined);
  }
}

async function make(definition: ExportDefinition, parts: SinkParts): Promise<Sink> {
  const { name: id, kind, url, headers = {}, secret } = definition;
  const { version } = parts;
  const ca = definition.ca === undefined ? undefined : await certificates(definition.ca, parts);
  const valueOf = async (name: string): Promise<string> => {
    const value = await parts.secret(name);
    if (value === undefined)
      throw new SinkError(`The export secret “${name}” is not in the keyring. Enter it with “Culvert: Set Export Secret…”.`, true);
    return value;
  };
  const named = async (): Promise<Record<string, string>> =>
    Object.fromEntries(await Promise.all(Object.entries(headers).map(async ([header, of]) => [header, await valueOf(of)] as const)));
  switch (kind) {
    case 'syslog': {
      const { protocol, hostname, port } = new URL(url);
      const host = hostname.replace(/^\[(.*)\]$/, '$1');
      return new SyslogSink({
        id,
        host,
        port: Number(port),
        version,
        ...(protocol === 'tls:' ? { tls: ca === undefined ? {} : { ca } } : {}),
      });
    }
    case 'otlp':
      return new OtlpSink({
        id,
        url,
        signals: definition.signals ?? ['logs', 'traces'],
        headers: named,
        serviceVersion: version,
        ...(ca === undefined ? {} : { ca }),
      });
    case 'webhook':
    case 'ocsf-webhook': {
      // Not at the start of the editor: undici takes a while to load.
      const { WebhookSink } = await import('./webhookSink.ts');
      return new WebhookSink({
        id,
        url,
        form: kind === 'webhook' ? 'culvert' : 'ocsf',
        version,
        now: () => parts.now() / 1_000,
        headers: named,
        ...(secret === undefined ? {} : { secret: () => valueOf(secret) }),
        ...(ca === undefined ? {} : { ca }),
        ...(parts.proxies ? { proxies: parts.proxies() } : {}),
      });
    }
  }
}

async function certificates(path: string, parts: SinkParts): Promise<string> {
  try {
    return await parts.readFile(path);
  } catch (error) {
    throw new SinkError(`The certificates in ${path} can’t be read: ${messageOf(error)}.`, true, { cause: error });
  }
}
