import { parentPort } from 'node:worker_threads';
import { KnownSecrets } from '../detection/knownSecrets.ts';
import { PatternRules } from './patternRules.ts';
import { Search } from './search.ts';
import type { FromThread, ToThread } from './secretSearch.ts';

/** What runs in the thread for large texts: `secretSearch.ts` starts it and tells it what to search for. A bundle of its own. */
const known = new KnownSecrets();
// Problems are told where the same rules are loaded for small texts.
const rules = new PatternRules(() => undefined);
const search = new Search({ known, patterns: rules.finders });
let turn: Promise<void> = Promise.resolve();

async function handle(message: ToThread): Promise<void> {
  switch (message.kind) {
    case 'secrets':
      for (const id of message.deleted) known.delete(id);
      for (const [id, value] of message.set) known.set(id, value);
      return;
    case 'rules':
      rules.use(message.files);
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
      if (message.kind === 'search')
        parentPort?.postMessage({ id: message.id, failed: error instanceof Error ? error.name : 'failed' } satisfies FromThread);
    });
});
