import { MAX_CREDENTIAL_NAME_CHARACTERS } from '../credentials/credential.ts';

/** Name for the credential of a server. */
export function credentialName(label: string, taken: (name: string) => boolean): string {
  const base = `${label} credential`.slice(0, MAX_CREDENTIAL_NAME_CHARACTERS - 4);
  for (let n = 1; ; n++) {
    const name = n === 1 ? base : `${base} ${n}`;
    if (!taken(name)) return name;
  }
}
