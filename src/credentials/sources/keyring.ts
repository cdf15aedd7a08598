import type { Clock } from '../../common/clock.ts';
import { CredentialError, type CredentialSource, type Resolved, type SourceAsk, type SourceTest } from '../source.ts';
import type { SpecOf } from '../sourceSpec.ts';
import { resolvedOf } from './command.ts';
import { readOutput } from './output.ts';
import { programEnvironment, runProgram, type Environment } from './process.ts';

const WHO = 'secret-tool';
/** How long a value is kept, seconds: asking is cheap, and another program may have changed it. */
const KEEP_SECONDS = 30;

/** Entries of the keyring that other programs wrote, by `secret-tool` of libsecret (Secret Service API). */
export class KeyringSource implements CredentialSource {
  readonly kind = 'keyring';
  readonly #clock: Clock;
  readonly #environment: () => Environment;

  constructor(clock: Clock, environment: () => Environment = () => process.env) {
    this.#clock = clock;
    this.#environment = environment;
  }

  async resolve(ask: SourceAsk): Promise<Resolved> {
    const { attributes } = specOf(ask);
    let text: string;
    try {
      text = await runProgram({
        command: WHO,
        args: ['lookup', ...Object.entries(attributes).flat()],
        environment: programEnvironment(this.#environment()),
        who: WHO,
        signal: ask.signal,
      });
    } catch (error) {
      if (!(error instanceof CredentialError) || !error.message.includes('ended with code 1')) throw error;
      throw new CredentialError(
        'CULVERT_CREDENTIAL_KEYRING',
        'keyring',
        `The keyring has no entry with ${Object.keys(attributes).join(', ')} as they are set for “${ask.credential.name}”, or it is locked. Unlock it, or look with “secret-tool search”.`,
      );
    }
    const now = this.#clock.now();
    return resolvedOf(readOutput(text, 'text', undefined, WHO, now), KEEP_SECONDS, now);
  }

  async test(ask: SourceAsk): Promise<SourceTest> {
    await this.resolve(ask);
    return { state: 'valid', step: 'keyring', detail: 'The keyring has the entry.' };
  }
}

function specOf({ credential }: SourceAsk): SpecOf<'keyring'> {
  if (credential.source?.kind !== 'keyring') throw new Error('The credential is not that of a keyring.');
  return credential.source;
}
