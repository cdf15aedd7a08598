import { homedir } from 'node:os';
import type { CommandPlace } from '../mcp/server.ts';
import type { Launch } from './stdioChannel.ts';
import { resolveProgram } from './stdioCommand.ts';
import { minimalEnvironment, type Environment } from './stdioEnvironment.ts';
import type { UpstreamRequest } from './upstream.ts';

/** How a command is started on this machine: exact arguments, no shell, an environment of what is needed and what the user set. */
export function localLaunch(
  place: CommandPlace,
  { environment: secrets = {} }: Pick<UpstreamRequest, 'environment'>,
  own: Environment,
): Launch {
  const environment = { ...minimalEnvironment(own, process.platform), ...place.environment, ...secrets };
  const { file, args } = resolveProgram({ file: place.command, args: place.args }, environment);
  return { file, args, folder: place.folder ?? homedir(), environment, secrets: Object.values(secrets) };
}
