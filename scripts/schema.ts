/** Writes the schemas of media/schemas from the code: `node scripts/node.mjs scripts/schema.ts`. A test holds the two together. */
import fs from 'node:fs';
import path from 'node:path';
import { format } from 'prettier';
import { grantSchema } from '../src/authorization/editableGrant.ts';
import { workspacePolicySchema } from '../src/authorization/policy/jsonPolicy.ts';

const folder = path.resolve(import.meta.dirname, '../media/schemas');
fs.mkdirSync(folder, { recursive: true });
for (const [name, schema] of [
  ['culvert', workspacePolicySchema()],
  ['culvert-grant', grantSchema()],
] as const) {
  const file = path.join(folder, `${name}.schema.json`);
  fs.writeFileSync(file, await format(JSON.stringify(schema), { filepath: file, printWidth: 140 }));
}
