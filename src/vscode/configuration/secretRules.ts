import { rotationPage } from '../../configuration/rotation.ts';
import { looksSecret, type LooksSecret } from '../../configuration/secretShape.ts';

/** The rules for plaintext in files, and where a provider says how a value is replaced. */
export interface SecretRules {
  readonly looksSecret: LooksSecret;
  /** The provider's page about a value of this kind. */
  readonly pageOf: (value: string) => string | undefined;
}

/** Names and shapes that configurations hold, and the exact patterns of detection beside them. Compiles hundreds: once, when first needed. */
export async function loadSecretRules(): Promise<SecretRules> {
  const [{ PatternMatcher }, { RULES }] = await Promise.all([
    import('../../detection/rules/matcher.ts'),
    import('../../detection/rules/all.ts'),
  ]);
  const matcher = new PatternMatcher(RULES.filter(({ tier }) => tier === 'exact'));
  return {
    looksSecret: (name, value) => {
      const look = looksSecret(name, value);
      if (look?.certain === true) return look;
      const [match] = matcher.find(Buffer.from(value, 'utf8'));
      return match ? { rule: match.rule.id, what: match.rule.title, certain: true } : look;
    },
    pageOf: (value) => rotationPage(looksSecret(undefined, value)?.rule) ?? matcher.find(Buffer.from(value, 'utf8'))[0]?.rule.docs,
  };
}
