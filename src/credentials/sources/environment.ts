import type { Clock } from '../../common/clock.ts';
import { Secret } from '../secret.ts';
import { CredentialError, type CredentialSource, type Resolved, type SourceAsk } from '../source.ts';
import { revisionOf } from '../sources.ts';
import type { Environment } from './process.ts';

/** How long a value is kept, milliseconds. */
const KEEP_MS = 5_000;

/** Variables of the editor's own environment, such as a container or a development shell sets. */
export class EnvironmentSource implements CredentialSource {
  readonly kind = 'environment';
  readonly #clock: Clock;
  readonly #environment: () => Environment;

  constructor(clock: Clock, environment: () => Environment = () => process.env) {
    this.#clock = clock;
    this.#environment = environment;
  }

  async resolve({ credential }: SourceAsk): Promise<Resolved> {
    if (credential.source?.kind !== 'environment') throw new Error('The credential is not that of a variable.');
    const { variable } = credential.source;
    const value = this.#environment()[variable]?.trim();
    if (value === undefined || value === '')
      throw new CredentialError(
        'CULVERT_CREDENTIAL_VARIABLE',
        'variable',
        `The variable ${variable} is not set where the editor runs. Set it before the editor starts (in a remote window, on that machine), then reload the window.`,
        { forAgent: `The variable ${variable}, which holds the credential “${credential.name}”, is not set where the editor runs.` },
      );
    return { secret: new Secret(value), revision: revisionOf(value), expiresAt: this.#clock.now() + KEEP_MS };
  }
}
