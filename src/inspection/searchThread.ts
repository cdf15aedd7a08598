import { parentPort } from 'node:worker_threads';
import { KnownSecrets } from '../detection/knownSecrets.ts';
import { PatternRules } from './patternRules.ts';
import { Search, type Found } from './search.ts';
import type { FromThread, ToThread } from './secretSearch.ts';
import type { Batch } from './searchBatches.ts';

/** What runs in the thread for large texts: `secretSearch.ts` starts it and tells it what to search for. A bundle of its own. */
const known = new KnownSecrets();
// Problems are told where the same rules are loaded for small texts.
const rules = new PatternRules(
  () => undefined,
  async () => (await import('../detection/rules/secretlint.ts')).loadSecretlint(),
);
const search = new Search({ known, patterns: rules.finders });
let turn: Promise<void> = Promise.resolve();

/** The messages of a batch. They are copied: what is searched must not change under it. */
function searchAll({ memory, start, ends }: Batch): (Found | null)[] {
  const bytes = Buffer.from(memory);
  let at = start;
  return ends.map((end) => {
    const found = search.message(Buffer.from(bytes.subarray(at, end)), { hidden: true });
    at = end;
    return found.hits.length === 0 && found.complete && found.tooDeep !== true ? null : found;
  });
}

async function handle(message: ToThread): Promise<void> {
  switch (message.kind) {
    case 'secrets':
      for (const id of message.deleted) known.delete(id);
      for (const [id, value] of message.set) known.set(id, value);
      return;
    case 'rules':
      rules.use(message.files, message.secretlint);
      return;
    case 'batch':
      await rules.ready();
      parentPort?.postMessage({ batch: message.id, found: searchAll(message) } satisfies FromThread);
      return;
    case 'search': {
      await rules.ready();
      const { id, bytes, wanted } = message;
      const found = search.message(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), wanted);
      parentPort?.postMessage({ id, found } satisfies FromThread);
    }
  }
}

parentPort?.on('message', (message: ToThread) => {
  turn = turn
    .then(() => handle(message))
    .catch((error: unknown) => {
      // Without an answer to each message they are searched where they came from.
      if (message.kind === 'batch') parentPort?.postMessage({ batch: message.id, found: [] } satisfies FromThread);
      if (message.kind === 'search')
        parentPort?.postMessage({ id: message.id, failed: error instanceof Error ? error.name : 'failed' } satisfies FromThread);
    });
});
