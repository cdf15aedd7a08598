const PREFIX = 'canary:';

/** Id under which the value of a canary is known to the search. */
export function canarySecretId(canary: string): string {
  return PREFIX + canary;
}

/** Whether a secret that was found is a canary. */
export function isCanary(secretId: string): boolean {
  return secretId.startsWith(PREFIX);
}

/** The canary that a secret is the value of. */
export function canaryOf(secretId: string): string {
  return secretId.slice(PREFIX.length);
}
