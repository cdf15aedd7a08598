import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { DATABASE_FILE } from '../../src/tunnel/core.ts';
import { keepTraces } from './noted.ts';

/** A short-lived folder; `remove` takes it away. Of a run, Culvert’s database in it is kept for the scan at the end. */
export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'cv-'));
  return {
    path,
    remove() {
      const databases = filesOf(path).filter((name) => name.startsWith(DATABASE_FILE));
      if (databases.length > 0) keepTraces(basename(path), path, databases);
      rmSync(path, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // Gone already, or shut by the test.
    return [];
  }
}
