import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/logger.ts';
import { visible } from '../common/text.ts';
import type { CommandPlace, Server } from '../mcp/server.ts';
import { ChannelUpstream } from './channelUpstream.ts';
import { HttpUpstream } from './httpUpstream.ts';
import { legacySseOpener } from './legacySseChannel.ts';
import type { ProxyEnvironment } from './proxies.ts';
import { SshUpstream } from './ssh.ts';
import { SSH, explainSsh, sshLaunch, type SshProgram } from './sshCommand.ts';
import { stdioOpener } from './stdioChannel.ts';
import type { Environment } from './stdioEnvironment.ts';
import { localLaunch } from './stdioLaunch.ts';
import type { Upstream } from './upstream.ts';

/** Longest name of a command in a message, characters. */
const MAX_COMMAND_CHARACTERS = 80;

/** What the ways to servers need from the rest. */
export interface UpstreamOptions {
  readonly proxies: ProxyEnvironment;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Opens the private key of a client certificate; `undefined` if the vault doesn't give it for this server. */
  clientKey(credential: string): Promise<{ expose(): string } | undefined>;
  /** Takes known secrets out of text that a process wrote, before it is logged. */
  redact(text: string): string;
  /** How `ssh` is called. Default: the one on the PATH, with the user's configuration. */
  readonly ssh?: SshProgram;
  /** What commands inherit from. Default: the environment of this process, read at each start. */
  readonly environment?: Environment;
}

/** Opens the way to a server, whatever it speaks. Connects nothing yet. */
export function openUpstream({ label, upstream: place }: Pick<Server, 'label' | 'upstream'>, options: UpstreamOptions): Upstream {
  if (place.kind === 'stdio') return openCommand(label, place, options);
  const { proxies, clock, logger } = options;
  const tls = { tls: place.tls, clientKey: (credential: string) => options.clientKey(credential) };
  const http =
    place.ssh === undefined
      ? new HttpUpstream({ proxies, ...tls })
      : new SshUpstream(
          {
            label,
            destination: place.ssh,
            url: new URL(place.url),
            program: options.ssh ?? SSH,
            environment: options.environment,
            clock,
            logger,
          },
          (socketPath, host) => new HttpUpstream({ proxies: {}, socketPath, host, ...tls }),
        );
  if (place.kind === 'http') return http;
  return new ChannelUpstream({
    label,
    clock,
    logger,
    modern: false,
    open: legacySseOpener({ http, url: new URL(place.url), clock }),
    onDispose: () => http.dispose(),
  });
}

function openCommand(label: string, place: CommandPlace, options: UpstreamOptions): Upstream {
  const { logger, clock, ssh = SSH } = options;
  const destination = place.ssh;
  const name = visible(place.command, MAX_COMMAND_CHARACTERS);
  const common = { label, logger, clock, redact: (text: string) => options.redact(text) };
  const open =
    destination === undefined
      ? stdioOpener({ ...common, command: name, launch: (request) => localLaunch(place, request, options.environment ?? process.env) })
      : stdioOpener({
          ...common,
          command: `${name} on ${destination}`,
          launch: (request) => sshLaunch(place, destination, request, ssh, options.environment ?? process.env),
          explain: (code, lines) => explainSsh(destination, code, lines, place.command),
        });
  return new ChannelUpstream({ label, clock, logger, modern: true, open });
}
