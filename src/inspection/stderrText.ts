import { KnownSecrets } from '../detection/knownSecrets.ts';
import { Scanner } from '../detection/scanner.ts';
import { applyEdits } from '../mcp/json.ts';
import type { Inspector } from './inspector.ts';
import { redactionMark } from './marks.ts';

/**
 * What a process writes to its error output, line by line, without secrets: also those that are spread over lines that come one after the
 * other. Nothing is held back: the lines come whole.
 */
export function stderrCleaner(known: KnownSecrets, inspector: Inspector, nameOf: (id: string) => string): (text: string) => string {
  const scanner = new Scanner(known);
  return (text) => {
    const parts = [scanner.push(Buffer.from(text, 'utf8')), scanner.flush()];
    const bytes = Buffer.concat(
      parts.map((part) =>
        applyEdits(
          part.bytes,
          part.matches.map((match) => ({ span: match, replacement: redactionMark(nameOf(match.id)) })),
        ),
      ),
    );
    return inspector.text(bytes).bytes.toString('utf8');
  };
}
