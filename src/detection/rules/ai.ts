import { assigned, token, type Rule } from './rule.ts';

const OPENAI = 'https://platform.openai.com/docs/api-reference/authentication';
const ANTHROPIC = 'https://docs.anthropic.com/en/api/overview';
const HUGGING_FACE = 'https://huggingface.co/docs/hub/security-tokens';

/** Models, and what is built around them. */
export const AI_RULES: readonly Rule[] = [
  token('openai-key', 'an OpenAI API key', OPENAI, 'sk-{base62:20}T3BlbkFJ{base62:20}'),
  token('openai-project-key', 'an OpenAI project API key', OPENAI, 'sk-{proj|svcacct|admin}-{base64url:20-100}T3BlbkFJ{base64url:20-100}'),
  token('openai-opaque-key', 'an OpenAI project API key', OPENAI, 'sk-{proj|svcacct|admin}-{base64url:120-200}'),
  token('anthropic-key', 'an Anthropic API key', ANTHROPIC, 'sk-ant-api03-{base64url:93}AA'),
  token('anthropic-admin-key', 'an Anthropic admin API key', ANTHROPIC, 'sk-ant-admin01-{base64url:93}AA'),
  token('anthropic-oauth-token', 'an Anthropic OAuth token', ANTHROPIC, 'sk-ant-{oat01|ort01|sid01|sid02}-{base64url:80-120}'),
  token('openrouter-key', 'an OpenRouter API key', 'https://openrouter.ai/docs/api-reference/authentication', 'sk-or-v1-{hex:64}'),
  token('deepseek-key', 'a DeepSeek API key', 'https://api-docs.deepseek.com/', 'sk-{hex:32}', { minEntropy: 3 }),
  token('hugging-face-token', 'a Hugging Face user access token', HUGGING_FACE, 'hf_{letter:34}', { minEntropy: 3 }),
  token('hugging-face-organisation-token', 'a Hugging Face organisation token', HUGGING_FACE, 'api_org_{letter:34}', { minEntropy: 3 }),
  token('groq-key', 'a Groq API key', 'https://console.groq.com/docs/quickstart', 'gsk_{base62:52}'),
  token('xai-key', 'an xAI API key', 'https://docs.x.ai/docs/overview', 'xai-{base62:80}'),
  token('perplexity-key', 'a Perplexity API key', 'https://docs.perplexity.ai/guides/getting-started', 'pplx-{base62:48}'),
  token('replicate-token', 'a Replicate API token', 'https://replicate.com/docs/topics/security/api-tokens', 'r8_{base62:37}'),
  token('nvidia-key', 'an NVIDIA API key', 'https://docs.nvidia.com/ngc/latest/ngc-user-guide.html', 'nvapi-{base64url:60-70}'),
  token(
    'langsmith-key',
    'a LangSmith API key',
    'https://docs.smith.langchain.com/administration/how_to_guides/organization_management/create_account_api_key',
    'lsv2_{pt|sk}_{hex:32}_{hex:10}',
  ),
  token('langfuse-key', 'a Langfuse secret key', 'https://langfuse.com/docs/api', 'sk-lf-{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}'),
  token('pinecone-key', 'a Pinecone API key', 'https://docs.pinecone.io/guides/projects/manage-api-keys', 'pcsk_{base62:5-6}_{base62:63}'),
  token('fireworks-key', 'a Fireworks AI API key', 'https://docs.fireworks.ai/api-reference/introduction', 'fw_{base62:22-24}', {
    minEntropy: 3.5,
  }),
  token('together-key', 'a Together AI API key', 'https://docs.together.ai/docs/quickstart', 'tgp_v1_{base64url:43}'),
  token('cerebras-key', 'a Cerebras API key', 'https://inference-docs.cerebras.ai/quickstart', 'csk-{lowernum:48}'),
  token('tavily-key', 'a Tavily API key', 'https://docs.tavily.com/documentation/api-reference/introduction', 'tvly-{base62:32}', {
    ok: ['tvly-{base62:32}'],
  }),
  token(
    'tavily-environment-key',
    'a Tavily API key',
    'https://docs.tavily.com/documentation/api-reference/introduction',
    'tvly-{dev|prod}-{base62:32}',
  ),
  token('firecrawl-key', 'a Firecrawl API key', 'https://docs.firecrawl.dev/introduction', 'fc-{hex:32}', { minEntropy: 3 }),
  token('e2b-key', 'an E2B API key', 'https://e2b.dev/docs/api-key', 'e2b_{hex:40}'),
  token('apify-token', 'an Apify API token', 'https://docs.apify.com/platform/integrations/api', 'apify_api_{base62:36}'),
  token(
    'browserbase-key',
    'a Browserbase API key',
    'https://docs.browserbase.com/introduction/getting-started',
    'bb_live_{base64url:24-40}',
  ),
  token('context7-key', 'a Context7 API key', 'https://context7.com/docs', 'ctx7sk-{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}'),
  assigned('cohere-key', 'a Cohere API key', 'https://docs.cohere.com/docs/rate-limits', ['cohere', 'co_api_key'], '{base62:40}', {
    checks: ['mixed', 'not-placeholder'],
    minEntropy: 4,
  }),
  assigned('mistral-key', 'a Mistral AI API key', 'https://docs.mistral.ai/getting-started/quickstart/', ['mistral'], '{base62:32}', {
    checks: ['mixed', 'not-placeholder'],
    minEntropy: 3.8,
  }),
  assigned(
    'elevenlabs-key',
    'an ElevenLabs API key',
    'https://elevenlabs.io/docs/api-reference/authentication',
    ['xi-api-key', 'elevenlabs', 'xi_api_key'],
    '{hex:32}',
  ),
  token('elevenlabs-secret-key', 'an ElevenLabs API key', 'https://elevenlabs.io/docs/api-reference/authentication', 'sk_{hex:48}'),
  assigned(
    'stability-key',
    'a Stability AI API key',
    'https://platform.stability.ai/docs/getting-started/authentication',
    ['stability'],
    'sk-{base62:48}',
  ),
  assigned('assemblyai-key', 'an AssemblyAI API key', 'https://www.assemblyai.com/docs', ['assemblyai'], '{hex:32}'),
  assigned('wandb-key', 'a Weights & Biases API key', 'https://docs.wandb.ai/support/find_api_key/', ['wandb'], '{hex:40}'),
];
