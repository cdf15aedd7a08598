import { chmodSync, chownSync, statSync } from 'node:fs';

/** Rights are nothing to root. */
const IS_ROOT = process.getuid?.() === 0;
/** Whoever has no rights at all. */
const NOBODY = 65_534;

/**
 * Takes the right to write these files and folders from this process, until what it returns is called. Root becomes somebody else
 * meanwhile, so what is loaded later may not be found. Not for Windows.
 */
export function withoutWriteAccess(...paths: readonly string[]): () => void {
  const modes = paths.map((path) => [path, statSync(path).mode] as const);
  for (const [path, mode] of modes) {
    chmodSync(path, mode & 0o555);
    if (IS_ROOT) chownSync(path, NOBODY, NOBODY);
  }
  if (IS_ROOT) process.seteuid?.(NOBODY);
  return () => {
    if (IS_ROOT) process.seteuid?.(0);
    for (const [path, mode] of modes) {
      if (IS_ROOT) chownSync(path, 0, 0);
      chmodSync(path, mode);
    }
  };
}
