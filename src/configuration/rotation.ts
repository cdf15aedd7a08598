/** Where a provider lets its users make a new credential and revoke the old one, by rule of {@link looksSecret}. */
const PAGES: Readonly<Record<string, string>> = {
  'shape:github': 'https://github.com/settings/tokens',
  'shape:gitlab': 'https://gitlab.com/-/user_settings/personal_access_tokens',
  'shape:anthropic': 'https://console.anthropic.com/settings/keys',
  'shape:openai': 'https://platform.openai.com/api-keys',
  'shape:openrouter': 'https://openrouter.ai/settings/keys',
  'shape:slack': 'https://api.slack.com/apps',
  'shape:aws': 'https://console.aws.amazon.com/iam/home#/security_credentials',
  'shape:google': 'https://console.cloud.google.com/apis/credentials',
  'shape:google-oauth': 'https://console.cloud.google.com/apis/credentials',
  'shape:stripe': 'https://dashboard.stripe.com/apikeys',
  'shape:npm': 'https://www.npmjs.com/settings/~/tokens',
  'shape:pypi': 'https://pypi.org/manage/account/token/',
  'shape:huggingface': 'https://huggingface.co/settings/tokens',
  'shape:notion': 'https://www.notion.so/my-integrations',
  'shape:linear': 'https://linear.app/settings/account/security',
  'shape:figma': 'https://www.figma.com/settings',
  'shape:sentry': 'https://sentry.io/settings/account/api/auth-tokens/',
  'shape:supabase': 'https://supabase.com/dashboard/account/tokens',
  'shape:atlassian': 'https://id.atlassian.com/manage-profile/security/api-tokens',
  'shape:telegram': 'https://core.telegram.org/bots/features#botfather',
};

/** The page, if the provider is known by the shape of the value. */
export function rotationPage(rule: string | undefined): string | undefined {
  return rule === undefined ? undefined : PAGES[rule];
}
