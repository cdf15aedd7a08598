import type { Rule } from './rule.ts';

/** The same rules as `all.ts` in the same order, a file at a time: none of them takes more than some milliseconds. */
export async function loadRules(): Promise<readonly Rule[]> {
  const out: Rule[] = [];
  for (const load of FILES) {
    out.push(...(await load()));
    await new Promise(setImmediate);
  }
  return out;
}

const FILES: readonly (() => Promise<readonly Rule[]>)[] = [
  async () => (await import('./development.ts')).DEVELOPMENT_RULES,
  async () => (await import('./cloud.ts')).CLOUD_RULES,
  async () => (await import('./ai.ts')).AI_RULES,
  async () => (await import('./services.ts')).SERVICE_RULES,
  async () => (await import('./carriers.ts')).CARRIER_RULES,
];
