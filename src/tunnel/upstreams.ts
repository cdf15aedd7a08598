import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../common/clock.ts';
import type { Disposable } from '../common/disposable.ts';
import type { Logger } from '../common/logger.ts';
import { bindingOf, type Server, type UpstreamPlace } from '../mcp/server.ts';
import { openUpstream } from '../upstream/open.ts';
import type { ProxyEnvironment } from '../upstream/proxies.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Core } from './core.ts';

/** How long the end waits for processes of servers to end, milliseconds: somewhat longer than they are given before they are killed. */
const SETTLE_MS = 4_500;

export interface UpstreamsOptions {
  readonly core: Core;
  readonly clock: Clock;
  readonly logger: Logger;
  proxies(): ProxyEnvironment;
}

/** The ways to servers that this window has open. */
export class Upstreams implements Disposable {
  readonly #options: UpstreamsOptions;
  /** By server: the way to it, and for which place and credentials it came about. */
  readonly #open = new Map<
    string,
    { readonly place: UpstreamPlace; readonly credentials: readonly string[]; readonly upstream: Upstream }
  >();
  /** Those that were open at the end. */
  #last: readonly Upstream[] = [];

  constructor(options: UpstreamsOptions) {
    this.#options = options;
  }

  /** The way to a server; a new one when the server has moved. */
  to(server: Server): Upstream {
    const present = this.#open.get(server.id);
    // Rows are read anew whenever something changed; the same place is the same way.
    if (present && (present.place === server.upstream || isDeepStrictEqual(present.place, server.upstream))) return present.upstream;
    present?.upstream.dispose();
    const { core, logger, clock } = this.#options;
    const upstream = openUpstream(server, {
      proxies: this.#options.proxies(),
      logger,
      clock,
      clientKey: async (credential) => {
        const opened = await core.credentials.vault.open(credential, bindingOf(server.upstream));
        if (!opened.ok) return undefined;
        core.recognise(credential, opened.revision, opened.secret);
        return opened.secret;
      },
      redact: core.leaks.stderrCleaner(),
    });
    // This workspace may use another account; what counts is whether the server's own change.
    const { credentials } = core.servers.get(server.id) ?? server;
    this.#open.set(server.id, { place: server.upstream, credentials, upstream });
    return upstream;
  }

  /** Whether the way that is open leads to another place than the server is at now, or came about for other credentials. */
  leadsElsewhere({ id, upstream, credentials }: Server): boolean {
    const present = this.#open.get(id);
    return present !== undefined && !isDeepStrictEqual([present.place, present.credentials], [upstream, credentials]);
  }

  /** Closes the way to a server. */
  close(server: string): void {
    this.#open.get(server)?.upstream.dispose();
    this.#open.delete(server);
  }

  /** Closes all of them. */
  dispose(): void {
    const open = [...this.#open.values()].map(({ upstream }) => upstream);
    for (const upstream of open) upstream.dispose();
    this.#open.clear();
    this.#last = [...this.#last, ...open];
  }

  /** After the end: gives processes a moment to end by themselves; those that don't are killed by their transport. */
  async settled(): Promise<void> {
    let timer: Disposable | undefined;
    await Promise.race([
      Promise.all(this.#last.map(async (upstream) => upstream.settled?.())),
      new Promise<void>((resolve) => (timer = this.#options.clock.after(SETTLE_MS, resolve))),
    ]);
    timer?.dispose();
  }
}
