import * as z from 'zod';
import type { NewGrant } from './grantChanges.ts';
import { Conditions } from './conditions.ts';
import { originOf } from './explain.ts';
import { Grant, MAX_WHY_CHARACTERS, Scope, Target } from './grant.ts';
import { readJson } from './policy/jsonPolicy.ts';
import { positionAt, type PolicyProblem } from './policy/layer.ts';

/** Largest document of a grant, characters. */
const MAX_GRANT_TEXT = 256 * 1024;

const UNITS: Readonly<Record<string, number>> = { second: 1_000, minute: 60_000, hour: 3_600_000, day: 86_400_000 };
const SPAN = /^in (\d{1,6}) (second|minute|hour|day)s?$/;

/** An end as a person writes it: an instant (ISO 8601 with an offset), or a span from now. */
const Expires = z
  .string()
  .refine(
    (text) => SPAN.test(text) || z.iso.datetime({ offset: true }).safeParse(text).success,
    'Write an instant such as 2026-06-01T14:30:00+02:00, or “in 30 minutes”.',
  )
  .meta({ description: 'When it ends: an instant such as 2026-06-01T14:30:00+02:00, or “in 30 minutes” from the moment it is saved.' });

/** What of a grant can be edited. The server, who gave it and when stay what they are. */
export const EditableGrant = z
  .strictObject({
    effect: z.enum(['allow', 'ask', 'deny']).meta({ description: 'What happens with a call that fits. Deny goes before everything.' }),
    target: Target.meta({ description: 'What of the server it is about.' }),
    conditions: Conditions.optional().meta({ description: 'What the arguments must be; all of it.' }),
    scope: Scope.optional().meta({
      description: 'For whom: absent fields mean anybody. Ids are those of Culvert; take out what should not narrow it.',
    }),
    expires: Expires.optional(),
    uses: z
      .number()
      .int()
      .min(1)
      .max(1_000_000)
      .optional()
      .meta({ description: 'How often it may be used in all; what was used before an edit counts.' }),
    rate: z
      .strictObject({
        count: z.number().int().min(1).max(1_000).meta({ description: 'So many uses …' }),
        perMs: z.number().int().min(1_000).max(86_400_000).meta({ description: '… in any span of so many milliseconds.' }),
      })
      .optional()
      .meta({ description: 'How often it may be used in a span of time.' }),
    why: z.string().max(MAX_WHY_CHARACTERS).optional().meta({ description: 'Why, in your own words.' }),
  })
  .meta({
    id: 'CulvertGrant',
    title: 'Culvert grant',
    description: 'Permission for agents to use tools of a server. Takes effect when it is saved.',
  });
export type EditableGrant = z.infer<typeof EditableGrant>;

/** The JSON schema of {@link EditableGrant}, as it stands in `media/schemas/culvert-grant.schema.json`. */
export function grantSchema(): Record<string, unknown> {
  return {
    ...z.toJSONSchema(EditableGrant, {
      io: 'input',
      target: 'draft-7',
      override: ({ jsonSchema }) => {
        delete jsonSchema.readOnly;
      },
    }),
    allowComments: true,
    allowTrailingCommas: true,
  };
}

/** A grant as a document (JSON with comments). */
export function grantText(grant: Grant, serverLabel: string): string {
  const { effect, target, conditions, scope, expiresAt, uses, rate, why } = grant;
  const editable: EditableGrant = {
    effect,
    target,
    ...(conditions ? { conditions } : {}),
    ...(Object.keys(scope).length > 0 ? { scope } : {}),
    ...(expiresAt === undefined ? {} : { expires: new Date(expiresAt).toISOString() }),
    ...(uses === undefined ? {} : { uses }),
    ...(rate ? { rate } : {}),
    ...(why === undefined ? {} : { why }),
  };
  const bound =
    grant.endsWith?.kind === 'task'
      ? ['// It ends with its task, whatever stands here.']
      : grant.endsWith
        ? ['// It ends when its window closes, whatever stands here.']
        : [];
  const lines = [
    `// A grant of ${oneLine(serverLabel)}. Save to put it into force; what is not valid is not saved.`,
    `// ${oneLine(originOf(grant))}`,
    ...bound,
    JSON.stringify(editable, undefined, 2),
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * Reads an edited document against the grant that it is about. Problems have their place. An end in the past is one: saving it would be
 * a revoke by accident.
 */
export function readGrantText(
  source: string,
  text: string,
  grant: Grant,
  now: number,
): { readonly ok: true; readonly grant: NewGrant } | { readonly ok: false; readonly problems: readonly PolicyProblem[] } {
  const read = readJson(source, text, MAX_GRANT_TEXT, EditableGrant);
  if (!read.ok) return read;
  const { effect, target, conditions, scope, expires, uses, rate, why } = read.value;
  const expiresAt = expires === undefined ? undefined : instantOf(expires, now);
  if (expiresAt !== undefined && expiresAt <= now)
    return {
      ok: false,
      problems: [problemAt(source, text, '"expires"', 'This end is over already. To end the grant now, use “Culvert: Revoke…”.')],
    };
  const { workspace, workspaceName, ...rest } = scope ?? {};
  if (workspace === undefined && workspaceName !== undefined)
    return {
      ok: false,
      problems: [problemAt(source, text, '"workspaceName"', 'A name alone narrows nothing: give “workspace” too, or leave both out.')],
    };
  const made: NewGrant = {
    server: grant.server,
    effect,
    target,
    scope: { ...rest, ...(workspace === undefined ? {} : { workspace }), ...(workspaceName === undefined ? {} : { workspaceName }) },
    givenBy: 'editor',
    ...(conditions ? { conditions } : {}),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(uses === undefined ? {} : { uses }),
    ...(rate ? { rate } : {}),
    ...(why === undefined ? {} : { why }),
    // What it ends with is not for editing away.
    ...(grant.endsWith ? { endsWith: grant.endsWith } : {}),
    ...(grant.answers && effect === 'allow' ? { answers: grant.answers } : {}),
  };
  return { ok: true, grant: made };
}

function instantOf(text: string, now: number): number {
  const [, count, unit = ''] = SPAN.exec(text) ?? [];
  return count === undefined ? Date.parse(text) : now + Number(count) * (UNITS[unit] ?? 0);
}

function problemAt(source: string, text: string, key: string, message: string): PolicyProblem {
  const offset = Math.max(0, text.indexOf(key));
  const [from, to] = [positionAt(text, offset), positionAt(text, offset + key.length)];
  return { source, line: from.line, column: from.column, endLine: to.line, endColumn: to.column, message };
}

function oneLine(text: string): string {
  return text.replace(/[\r\n\u2028\u2029]/g, ' ');
}
