import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

export const MB = 1_000_000;
const MAX_FILE_BYTES = 400_000;
const MIN_FILE_BYTES = 1_000;

/** A text of the corpus. */
export interface Piece {
  readonly kind: string;
  readonly name: string;
  readonly text: Buffer;
}

const KINDS: readonly (readonly [string, (name: string) => boolean])[] = [
  ['declarations', (name) => name.endsWith('.d.ts') || name.endsWith('.d.cts') || name.endsWith('.d.mts')],
  ['JSON', (name) => name.endsWith('.json')],
  ['documentation', (name) => /\.(?:md|markdown|txt|html)$/i.test(name)],
  ['source', (name) => /\.(?:[cm]?js|ts|css|yml|yaml)$/.test(name)],
];

/** About so many megabytes of clean text: files of the installed packages, the same on every machine with the same lock file, and messages made of them. */
export function corpus(megabytes: number): readonly Piece[] {
  const modules = path.resolve(import.meta.dirname, '../node_modules');
  const files = fs
    .readdirSync(modules, { recursive: true, encoding: 'utf8' })
    // Rules and tests of other scanners hold what they look for.
    .filter((name) => !/secretlint|[\\/]\.cache/.test(name))
    .map((name) => ({ name: name.replaceAll('\\', '/'), order: createHash('sha256').update(name.replaceAll('\\', '/')).digest('hex') }))
    .sort((a, b) => (a.order < b.order ? -1 : 1));
  const share = (megabytes * MB) / (KINDS.length + 1);
  const pieces: Piece[] = [];
  const sizes = new Map<string, number>();
  const add = (piece: Piece) => {
    pieces.push(piece);
    sizes.set(piece.kind, (sizes.get(piece.kind) ?? 0) + piece.text.length);
  };
  for (const { name } of files) {
    const kind = KINDS.find(([, fits]) => fits(name))?.[0];
    if (kind === undefined || (sizes.get(kind) ?? 0) >= share) continue;
    const file = path.join(modules, name);
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (!stat?.isFile() || stat.size < MIN_FILE_BYTES || stat.size > MAX_FILE_BYTES) continue;
    add({ kind, name, text: fs.readFileSync(file) });
  }
  // What passes the tunnel is JSON with text in its strings, and logs.
  for (const [i, piece] of [...pieces].entries()) {
    if ((sizes.get('messages and logs') ?? 0) >= share) break;
    const text = piece.text.toString('utf8');
    const message =
      i % 2 === 0
        ? JSON.stringify({
            jsonrpc: '2.0',
            id: i,
            result: { content: [{ type: 'text', text }], structuredContent: { path: piece.name, size: text.length } },
          })
        : text
            .split('\n')
            .map(
              (line, n) =>
                `2026-05-${String((n % 28) + 1).padStart(2, '0')}T10:${String(n % 60).padStart(2, '0')}:07.${String(n % 1000).padStart(3, '0')}Z INFO [worker-${n % 8}] ${createHash('sha1').update(line).digest('hex')} ${line}`,
            )
            .join('\n');
    add({ kind: 'messages and logs', name: piece.name, text: Buffer.from(message) });
  }
  return pieces;
}
