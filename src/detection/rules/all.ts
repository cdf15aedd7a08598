import { AI_RULES } from './ai.ts';
import { CARRIER_RULES } from './carriers.ts';
import { CLOUD_RULES } from './cloud.ts';
import { DEVELOPMENT_RULES } from './development.ts';
import type { Rule } from './rule.ts';
import { SERVICE_RULES } from './services.ts';

/** Our own rules, written from the providers' documentation. */
export const RULES: readonly Rule[] = [...DEVELOPMENT_RULES, ...CLOUD_RULES, ...AI_RULES, ...SERVICE_RULES, ...CARRIER_RULES];
