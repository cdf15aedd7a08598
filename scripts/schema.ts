/** Writes media/schemas/culvert.schema.json from the code: `node scripts/node.mjs scripts/schema.ts`. A test holds the two together. */
import fs from 'node:fs';
import path from 'node:path';
import { format } from 'prettier';
import { workspacePolicySchema } from '../src/authorization/policy/jsonPolicy.ts';

const file = path.resolve(import.meta.dirname, '../media/schemas/culvert.schema.json');
fs.mkdirSync(path.dirname(file), { recursive: true });
fs.writeFileSync(file, await format(JSON.stringify(workspacePolicySchema()), { filepath: file, printWidth: 140 }));
