import { z } from 'zod';

/**
 * Where a credential's value comes from, if it is not sealed in SecretStorage itself: plain data, part of the signed row, no secret. Each
 * kind has a {@link CredentialSource} that serves it. Whoever adds a kind adds its description to {@link describeSource} (sources/describe.ts).
 */
export const SourceSpec = z.discriminatedUnion('kind', [
  /** A variable of the editor’s own environment. */
  z.strictObject({ kind: z.literal('environment'), variable: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/) }),
]);
export type SourceSpec = z.infer<typeof SourceSpec>;
