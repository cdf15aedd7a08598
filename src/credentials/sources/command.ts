import { visible } from '../../common/text.ts';
import { commandDigest } from '../../mcp/server.ts';
import type { Clock } from '../../common/clock.ts';
import { CredentialError, type CredentialSource, type Resolved, type SourceAsk, type SourceTest } from '../source.ts';
import { DEFAULT_KEEP_SECONDS, type SpecOf } from '../sourceSpec.ts';
import { revisionOf } from '../sources.ts';
import { readOutput, type Output } from './output.ts';
import { programEnvironment, runProgram, type Environment } from './process.ts';

/** A value that ends is taken as ended this long before, milliseconds: the call has a way to go. */
const MARGIN_MS = 30_000;

/** Digest of everything that decides what is started. What the user confirms is this, as with commands of servers. */
export function sourceDigest({ command, args, folder, environment, input }: SpecOf<'command'>): string {
  return commandDigest({
    kind: 'stdio',
    command,
    args,
    ...(folder === undefined ? {} : { folder }),
    environment: { ...environment, ...(input === undefined ? {} : { 'what it reads': input }) },
  });
}

/** Whether the user confirmed exactly this command. */
export function isSourceConfirmed(spec: SpecOf<'command'>): boolean {
  return spec.confirmed === sourceDigest(spec);
}

/** Values that a command prints: password managers, command lines of clouds, credential helpers. */
export class CommandSource implements CredentialSource {
  readonly kind = 'command';
  readonly #clock: Clock;
  readonly #environment: () => Environment;

  constructor(clock: Clock, environment: () => Environment = () => process.env) {
    this.#clock = clock;
    this.#environment = environment;
  }

  async resolve(ask: SourceAsk): Promise<Resolved> {
    const spec = specOf(ask);
    const who = nameOf(spec);
    if (!isSourceConfirmed(spec))
      throw new CredentialError(
        'CULVERT_CREDENTIAL_UNCONFIRMED',
        'confirmation',
        `${who} was not run: you have not confirmed it since it changed. Do that with “Culvert: Test Credential…”.`,
        { forAgent: `${who} was not run: the user has not confirmed it. They can with “Culvert: Test Credential…”.`, action: 'confirm' },
      );
    const text = await runProgram({
      command: spec.command,
      args: spec.args,
      folder: spec.folder,
      environment: { ...programEnvironment(this.#environment()), ...spec.environment },
      input: spec.input,
      who,
      signal: ask.signal,
    });
    const now = this.#clock.now();
    return resolvedOf(readOutput(text, spec.format, spec.field, who, now), spec.keepSeconds, now);
  }

  async test(ask: SourceAsk): Promise<SourceTest> {
    const { validUntil } = await this.resolve(ask);
    const until = validUntil === undefined ? '' : ` It is good until ${new Date(validUntil).toLocaleString()}.`;
    return { state: 'valid', step: 'command', detail: `${nameOf(specOf(ask))} gave a value.${until}` };
  }
}

/** A value read from text, kept no longer than it is good. Throws CredentialError if it has ended already. */
export function resolvedOf(output: Output, keepSeconds: number | undefined, now: number): Resolved {
  const { secret, validUntil, parts } = output;
  if (validUntil !== undefined && validUntil <= now)
    throw new CredentialError(
      'CULVERT_CREDENTIAL_ENDED',
      'expiry',
      'The source gave a value whose time is over. Sign in again with the program that it comes from.',
    );
  const keep = now + (keepSeconds ?? DEFAULT_KEEP_SECONDS) * 1000;
  const expiresAt =
    validUntil === undefined
      ? keep
      : Math.max(now + 1_000, keepSeconds === undefined ? validUntil - MARGIN_MS : Math.min(keep, validUntil - MARGIN_MS));
  return {
    secret,
    revision: revisionOf(secret.expose(), ...Object.values(parts ?? {}).map((part) => part.expose())),
    expiresAt,
    ...(validUntil === undefined ? {} : { validUntil }),
    ...(parts ? { parts } : {}),
  };
}

function specOf({ credential }: SourceAsk): SpecOf<'command'> {
  if (credential.source?.kind !== 'command') throw new Error('The credential is not that of a command.');
  return credential.source;
}

function nameOf({ command, args }: SpecOf<'command'>): string {
  return visible([command.split(/[\\/]/).at(-1) ?? command, ...args.slice(0, 2)].join(' '), 60);
}
