import type { Clock } from '../common/clock.ts';
import { UpstreamError } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import type { Server } from '../mcp/server.ts';
import { HttpUpstream } from './httpUpstream.ts';
import type { ProxyEnvironment } from './proxies.ts';
import type { Upstream } from './upstream.ts';

/** What the ways to servers need from the rest. */
export interface UpstreamOptions {
  readonly proxies: ProxyEnvironment;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Opens the private key of a client certificate; `undefined` if the vault doesn't give it for this server. */
  clientKey(credential: string): Promise<{ expose(): string } | undefined>;
  /** Takes known secrets out of text that a process wrote, before it is logged. */
  redact(text: string): string;
}

/** Opens the way to a server, whatever it speaks. Connects nothing yet. */
export function openUpstream(server: Pick<Server, 'label' | 'upstream'>, options: UpstreamOptions): Upstream {
  const place = server.upstream;
  switch (place.kind) {
    case 'http':
      return new HttpUpstream(options.proxies);
    case 'sse':
    case 'stdio':
      throw new UpstreamError('CULVERT_UPSTREAM_KIND', 'connect', 'Culvert can’t speak to this kind of server yet.');
  }
}
