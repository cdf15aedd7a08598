import fs from 'node:fs';
import path from 'node:path';
import { PROJECT_ROOT } from './paths.ts';

/** What the .vsix holds of the project; the rest is of no use at run time. */
export const EXTENSION_ENTRIES = ['package.json', 'package.nls.json', 'dist', 'media', 'syntaxes'] as const;

/**
 * Copies the built extension, only what the .vsix holds, into a new folder `target`: what is missing in the package is missing in tests.
 * @throws if it was not built.
 */
export function stageExtension(target: string): string {
  if (!fs.existsSync(path.join(PROJECT_ROOT, 'dist/extension.cjs'))) throw new Error('dist/extension.cjs is missing: run npm run build');
  for (const entry of EXTENSION_ENTRIES) {
    const source = path.join(PROJECT_ROOT, entry);
    if (fs.existsSync(source)) fs.cpSync(source, path.join(target, entry), { recursive: true });
  }
  return target;
}
