import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';

// Made of the published schema: scripts/ocsfSchema.ts.
const SCHEMA = join(import.meta.dirname, '../fixtures/ocsf/api-activity-1.8.0.schema.json');
const isEvent = new Ajv({ allErrors: true }).compile(JSON.parse(readFileSync(SCHEMA, 'utf8')) as object);

/** What is wrong with an event of the class API Activity of OCSF 1.8.0 with the profile Security Control, after it was JSON. */
export function ocsfProblems(event: unknown): string[] {
  return isEvent(JSON.parse(JSON.stringify(event)))
    ? []
    : (isEvent.errors ?? []).map((e) => `${e.instancePath} ${e.message ?? ''} ${JSON.stringify(e.params)}`);
}
