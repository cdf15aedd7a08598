import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';
import { plainText, withoutEscapes, type Reading } from './readings.ts';

/** Reads a message a line, in base64, and answers with its fields in the form of a {@link Reading}. */
const PROGRAM = `
import base64, json, sys
class Digits(str): pass
def canonical(v):
    if isinstance(v, Digits): return str(v)
    if isinstance(v, dict): return '{' + ','.join(json.dumps(k) + ':' + canonical(v[k]) for k in sorted(v)) + '}'
    if isinstance(v, list): return '[' + ','.join(canonical(i) for i in v) + ']'
    return json.dumps(v)
def get(v, key):
    return canonical(v[key]) if isinstance(v, dict) and key in v else None
for line in sys.stdin:
    try:
        v = json.loads(base64.b64decode(line), parse_int=Digits, parse_float=Digits)
        if not isinstance(v, dict): raise ValueError('no object')
        p = v.get('params')
        print(json.dumps({'method': get(v, 'method'), 'id': get(v, 'id'), 'jsonrpc': get(v, 'jsonrpc'), 'name': get(p, 'name'), 'uri': get(p, 'uri'), 'arguments': get(p, 'arguments')}), flush=True)
    except Exception as error:
        print(json.dumps({'failed': repr(error)}), flush=True)
`;

/** Messages that wait for Python at most; more are left out, and counted. */
const MAX_WAITING = 200_000;

/** Python's own parser in a process beside: what the scanner accepted is shown to it, and the readings are compared afterwards. */
export class PythonParser {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  readonly #waiting: { readonly text: string; readonly reading: Reading }[] = [];
  #leftOut = 0;
  #compared = 0;

  constructor(command: string) {
    this.#child = spawn(command, ['-c', PROGRAM], { stdio: 'pipe' });
    this.#child.stderr.pipe(process.stderr);
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  keep(text: string, reading: Reading): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push({ text, reading });
    else this.#leftOut++;
  }

  /** Compares what has been kept; resolves with the first difference. */
  async settle(): Promise<string | undefined> {
    const all = this.#waiting.splice(0);
    const sent = (async () => {
      for (const { text } of all)
        if (!this.#child.stdin.write(`${Buffer.from(text).toString('base64')}\n`))
          await new Promise<void>((resolve) => this.#child.stdin.once('drain', resolve));
    })();
    let failure: string | undefined;
    for (const { text, reading } of all) {
      const answer = await this.#answers.next();
      if (answer.done === true) return 'Python ended before its time.';
      this.#compared++;
      failure ??= difference(text, JSON.parse(answer.value) as Record<string, string | null>, reading);
    }
    await sent;
    if (all.length > 0) console.log(`      Python agreed on ${this.#compared} messages so far, ${this.#leftOut} left out`);
    return failure;
  }

  close(): void {
    this.#child.stdin.end();
  }
}

function difference(text: string, theirs: Readonly<Record<string, string | null>>, ours: Reading): string | undefined {
  if (typeof theirs['failed'] === 'string') return `Python does not take ${JSON.stringify(text)}: ${theirs['failed']}`;
  for (const field of ['jsonrpc', 'id', 'method', 'name', 'uri', 'arguments'] as const)
    if (normal(theirs[field] ?? undefined) !== normal(ours[field])) return `Python reads ${field} of ${JSON.stringify(text)} differently`;
  return undefined;
}

/**
 * Both sides escape in their own way and sort keys by another order; the value is what counts, digits of numbers included. Half a surrogate
 * pair is the same as its replacement, as in the other readings.
 */
function normal(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value === 'string') return value.startsWith('n') ? value : `s${plainText(value).toWellFormed()}`;
    if (typeof value !== 'object' || value === null) return value;
    return Object.entries(value)
      .map(([key, child]) => JSON.stringify([plainText(key).toWellFormed(), sorted(child)]))
      .sort();
  };
  return JSON.stringify(sorted(JSON.parse(withoutEscapes(text))));
}
