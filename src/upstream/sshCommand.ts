import { homedir } from 'node:os';
import { UpstreamError } from '../common/errors.ts';
import type { CommandPlace } from '../mcp/server.ts';
import type { Launch } from './stdioChannel.ts';
import { resolveProgram } from './stdioCommand.ts';
import { sshEnvironment, type Environment } from './stdioEnvironment.ts';
import type { UpstreamRequest } from './upstream.ts';

/** How `ssh` is called: a program and the arguments that stand before all of ours. */
export interface SshProgram {
  readonly file: string;
  readonly args: readonly string[];
}

/** The system's own, with the user's configuration, agent and known hosts. */
export const SSH: SshProgram = { file: 'ssh', args: [] };

/** Seconds between signs of life, and how many may stay without an answer: a dead connection is noticed within 45 s. */
const ALIVE = ['-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=3'];
/** Nobody is there to answer a question, and the log must say why it failed. */
const COMMON = ['-T', '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=15', '-o', 'LogLevel=INFO', '-o', 'RemoteCommand=none', ...ALIVE];

/**
 * Arguments for a command on a far host. A connection that the user shares is used, but never made: it would outlive us.
 * `remote` is for the far shell.
 */
export function sshCommandArguments(destination: string, remote: string): string[] {
  return [...COMMON, '-o', 'ControlMaster=no', '-o', 'ClearAllForwardings=yes', '--', destination, remote];
}

/** Arguments for a way from a socket on this machine to a port that the far host sees. On a connection of its own, so that it ends with it. */
export function sshForwardArguments(destination: string, socketPath: string, host: string, port: string): string[] {
  const forward = `${socketPath}:${host}:${port}`;
  return [
    ...['-N', ...COMMON, '-o', 'ControlPath=none', '-o', 'ExitOnForwardFailure=yes', '-o', 'StreamLocalBindUnlink=yes'],
    ...['-L', forward, '--', destination],
  ];
}

/** A word for a POSIX shell (XCU 2.2.2). */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A command for a far shell, and what it must read first. */
export interface RemoteCommand {
  readonly line: string;
  /** The values of the secrets, a line each, that the command reads before it becomes the server: no list of processes shows them. */
  readonly preface: Buffer | undefined;
}

/** The command as the far host's shell reads it: SSH has no other way to start a program. Exact for POSIX shells. */
export function remoteCommand(
  { command, args, folder, environment = {} }: CommandPlace,
  secrets: Readonly<Record<string, string>>,
): RemoteCommand {
  const plain = Object.entries(environment).filter(([name]) => !(name in secrets));
  const words = [
    ...(plain.length > 0 ? ['env', ...plain.map(([name, value]) => `${name}=${quoted(value)}`)] : []),
    quoted(command),
    ...args.map(quoted),
  ];
  const enter = folder === undefined ? '' : `cd ${quoted(folder)} && `;
  const named = Object.entries(secrets);
  if (named.length === 0) return { line: `${enter}exec ${words.join(' ')}`, preface: undefined };
  const steps = ['culvert_nl=$(printf "\\nx")', 'culvert_nl=${culvert_nl%x}'];
  for (const [name, value] of named) {
    steps.push(`IFS= read -r ${name}`);
    for (let more = value.split('\n').length; more > 1; more--)
      steps.push('IFS= read -r culvert_line', `${name}="$${name}$culvert_nl$culvert_line"`);
    steps.push(`export ${name}`);
  }
  const script = `${steps.join(' && ')} && unset culvert_line culvert_nl && exec "$@"`;
  return {
    line: `${enter}exec sh -c ${quoted(script)} sh ${words.join(' ')}`,
    preface: Buffer.from(named.map(([, value]) => `${value}\n`).join(''), 'utf8'),
  };
}

/** How a command on a far host is started. */
export function sshLaunch(
  place: CommandPlace,
  destination: string,
  { environment: secrets = {} }: Pick<UpstreamRequest, 'environment'>,
  program: SshProgram,
  own: Environment,
): Launch {
  const environment = sshEnvironment(own);
  const { line, preface } = remoteCommand(place, secrets);
  const { file, args } = resolveProgram(
    { file: program.file, args: [...program.args, ...sshCommandArguments(destination, line)] },
    environment,
  );
  return { file, args, folder: homedir(), environment, secrets: Object.values(secrets), ...(preface ? { preface } : {}) };
}

/** What SSH's last lines mean, by OpenSSH's own words, and what to do about it. */
const MEANINGS: readonly (readonly [RegExp, `CULVERT_UPSTREAM_SSH_${string}`, (destination: string) => string])[] = [
  [
    /REMOTE HOST IDENTIFICATION HAS CHANGED/,
    'CULVERT_UPSTREAM_SSH_HOST_KEY_CHANGED',
    (d) =>
      `The host key of ${d} is another one than before: somebody may be in between. If the host was set up anew, remove the old key from known_hosts (ssh-keygen -R).`,
  ],
  [
    /Host key verification failed|host key is known for/,
    'CULVERT_UPSTREAM_SSH_HOST_KEY',
    (d) => `The host key of ${d} is not known yet. Run ssh ${d} once in a terminal, compare the fingerprint, and try again.`,
  ],
  [
    /Permission denied \([\w,.-]*\)|Too many authentication failures/,
    'CULVERT_UPSTREAM_SSH_DENIED',
    (d) =>
      `${d} did not accept your SSH key. Culvert can’t type passwords: add the key to your SSH agent (ssh-add) or name it in ~/.ssh/config, until ssh ${d} works without a question.`,
  ],
  [
    /Could not resolve hostname/,
    'CULVERT_UPSTREAM_SSH_NOT_FOUND',
    (d) => `There is no host ${d}. Check its name, or add it to ~/.ssh/config.`,
  ],
  [
    /^ssh: connect to host .* Connection refused/m,
    'CULVERT_UPSTREAM_SSH_REFUSED',
    (d) => `${d} does not take SSH connections there. Check the port in ~/.ssh/config and that its SSH server runs.`,
  ],
  [
    /^ssh: connect to host .*(timed out|No route to host|is unreachable)|^Connection timed out during banner exchange/m,
    'CULVERT_UPSTREAM_SSH_UNREACHABLE',
    (d) => `${d} can’t be reached. Check the network or VPN.`,
  ],
  [
    /Bad configuration option|bad configuration options|unknown option/,
    'CULVERT_UPSTREAM_SSH_CONFIGURATION',
    (d) => `SSH does not understand its configuration. Run ssh ${d} in a terminal and correct what it names.`,
  ],
  [
    /forwarding failed|cannot listen to|administratively prohibited/i,
    'CULVERT_UPSTREAM_SSH_FORWARD',
    (d) => `SSH could not forward to ${d}: the host forbids it, or a LocalForward of ~/.ssh/config is taken already.`,
  ],
];

/**
 * What the end of an `ssh` process means: `ssh` itself ends with 255, a far shell that finds no program with 127. `undefined` where the far
 * command ended by itself.
 */
export function explainSsh(
  destination: string,
  code: number | null,
  lastLines: readonly string[],
  command?: string,
): UpstreamError | undefined {
  const text = lastLines.join('\n');
  if (code === 127 && command !== undefined)
    return new UpstreamError(
      'CULVERT_UPSTREAM_NO_COMMAND',
      'start',
      `The command ${command} was not found on ${destination}. Give its full path: over SSH the PATH is often shorter than in a terminal.`,
    );
  if (code !== 255) return undefined;
  const words = text === '' ? '' : ` SSH said: ${lastLines.slice(-3).join(' / ').slice(-300)}`;
  for (const [pattern, errorCode, say] of MEANINGS)
    if (pattern.test(text)) return new UpstreamError(errorCode, 'ssh', `${say(destination)}${words}`);
  return new UpstreamError(
    'CULVERT_UPSTREAM_SSH_ENDED',
    'ssh',
    `The SSH connection to ${destination} ended. A call that ran may or may not have been carried out.${words}`,
  );
}
