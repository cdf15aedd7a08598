import { CredentialError, type CredentialSource, type Resolved, type SourceAsk } from '../source.ts';
import { endOfToken } from '../tokenEnd.ts';
import type { Vault } from '../vault.ts';

/** Values that the user entered: they lie in SecretStorage, sealed for their origins. The source of every credential that names no other. */
export class SealedSource implements CredentialSource {
  readonly kind = 'sealed';
  readonly #vault: Vault;

  constructor(vault: Vault) {
    this.#vault = vault;
  }

  async resolve({ credential, binding }: SourceAsk): Promise<Resolved> {
    const opened = await this.#vault.open(credential.id, binding);
    if (opened.ok) {
      const validUntil = endOfToken(opened.secret.expose());
      return { secret: opened.secret, revision: opened.revision, ...(validUntil === undefined ? {} : { validUntil }) };
    }
    if (opened.reason === 'other-origin')
      throw new CredentialError(
        'CULVERT_CREDENTIAL_ORIGIN',
        'binding',
        `“${credential.name}” is not bound to where the server is now, so it was not sent. Bind it with “Culvert: Edit Server…”.`,
        { action: 'edit' },
      );
    throw new CredentialError(
      'CULVERT_CREDENTIAL_MISSING',
      'keyring',
      `The value of the credential “${credential.name}” is not in the system’s keyring. Check that the keyring is unlocked, or enter the value again with “Culvert: Replace Credential…”.`,
      {
        forAgent: `The value of the credential “${credential.name}” is not in the system’s keyring. The user can enter it again with “Culvert: Replace Credential…”.`,
        action: 'replace',
      },
    );
  }
}
