/**
 * Makes test/fixtures/ocsf/api-activity-1.8.0.schema.json out of the published OCSF schema: the class API Activity with the profile
 * Security Control, whole, as JSON Schema.
 *
 *     git clone --branch v1.8.0 https://github.com/ocsf/ocsf-schema
 *     python -m ocsf_schema_compiler ocsf-schema > compiled.json      (https://github.com/ocsf/ocsf-schema-compiler)
 *     node scripts/node.mjs scripts/ocsfSchema.ts compiled.json
 *
 * Attributes of other profiles and deprecated ones are left out, and nothing is allowed that is not named: stricter than OCSF asks.
 */
import fs from 'node:fs';
import path from 'node:path';
import { format } from 'prettier';
import { z } from 'zod';

const PROFILE = 'security_control';
const CLASS = 'api_activity';

const Attribute = z.object({
  type: z.string(),
  requirement: z.string(),
  profiles: z.array(z.string()).nullish(),
  is_array: z.boolean().optional(),
  object_type: z.string().optional(),
  enum: z.record(z.string(), z.unknown()).optional(),
  '@deprecated': z.unknown().optional(),
});
const Attributes = z.object({
  attributes: z.record(z.string(), Attribute),
  constraints: z.object({ at_least_one: z.array(z.string()).optional(), just_one: z.array(z.string()).optional() }).optional(),
});
type Attributes = z.infer<typeof Attributes>;
const Type = z.object({
  type: z.string().optional(),
  range: z.tuple([z.number(), z.number()]).optional(),
  max_len: z.number().optional(),
  regex: z.string().optional(),
});
const Compiled = z.object({
  version: z.string(),
  classes: z.record(z.string(), Attributes),
  objects: z.record(z.string(), Attributes),
  dictionary: z.object({ types: z.object({ attributes: z.record(z.string(), Type) }) }),
});

const [file = ''] = process.argv.slice(2);
const compiled = Compiled.parse(JSON.parse(fs.readFileSync(file, 'utf8')));
const event = compiled.classes[CLASS];
if (!event) throw new Error(`${file} has no class ${CLASS}.`);

const definitions: Record<string, object> = {};
const root = shapeOf(event);
const schema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  $comment: `Made by scripts/ocsfSchema.ts of https://github.com/ocsf/ocsf-schema, version ${compiled.version} (Apache-2.0): class ${CLASS}, profile ${PROFILE}.`,
  ...root,
  definitions: Object.fromEntries(Object.entries(definitions).sort(([a], [b]) => (a < b ? -1 : 1))),
};
const target = path.resolve(import.meta.dirname, `../test/fixtures/ocsf/api-activity-${compiled.version}.schema.json`);
fs.mkdirSync(path.dirname(target), { recursive: true });
fs.writeFileSync(target, await format(JSON.stringify(schema), { filepath: target, printWidth: 140 }));

function shapeOf({ attributes, constraints }: Attributes): object {
  const taken = Object.entries(attributes).filter(
    ([, one]) => (!one.profiles || one.profiles.includes(PROFILE)) && one['@deprecated'] === undefined,
  );
  const names = new Set(taken.map(([name]) => name));
  const each = (list: readonly string[] = []) => list.filter((name) => names.has(name)).map((name) => ({ required: [name] }));
  const required = taken.filter(([, { requirement }]) => requirement === 'required').map(([name]) => name);
  return {
    type: 'object',
    additionalProperties: false,
    ...(required.length > 0 ? { required } : {}),
    ...(constraints?.at_least_one ? { anyOf: each(constraints.at_least_one) } : {}),
    ...(constraints?.just_one ? { oneOf: each(constraints.just_one) } : {}),
    properties: Object.fromEntries(taken.map(([name, one]) => [name, valueOf(one)])),
  };
}

function valueOf({ type, is_array: isArray, object_type: object, enum: values }: z.infer<typeof Attribute>): object {
  const one = object === undefined ? scalarOf(type, values && Object.keys(values)) : referTo(object);
  return isArray === true ? { type: 'array', items: one } : one;
}

function referTo(name: string): object {
  // “Can be also used as a generic object to log objects that are not otherwise defined by the schema.”
  if (name === 'object') return { type: 'object' };
  const found = compiled.objects[name];
  if (!found) throw new Error(`${file} has no object ${name}.`);
  if (!(name in definitions)) {
    // Objects can hold themselves.
    definitions[name] = {};
    definitions[name] = shapeOf(found);
  }
  return { $ref: `#/definitions/${name}` };
}

function scalarOf(type: string, values: readonly string[] | undefined): object {
  const { type: base, range, max_len: longest, regex } = compiled.dictionary.types.attributes[type] ?? {};
  const numbers = ['integer_t', 'long_t'].includes(base ?? type);
  if (values) return numbers ? { type: 'integer', enum: values.map(Number) } : { type: 'string', enum: values };
  if (numbers) return { type: 'integer', ...(range ? { minimum: range[0], maximum: range[1] } : {}) };
  switch (base ?? type) {
    case 'boolean_t':
      return { type: 'boolean' };
    case 'float_t':
      return { type: 'number' };
    case 'json_t':
      return {};
    case 'string_t':
      return {
        type: 'string',
        ...(longest === undefined ? {} : { maxLength: longest }),
        ...(regex === undefined ? {} : { pattern: regex }),
      };
    default:
      throw new Error(`The type ${type} is not known here.`);
  }
}
