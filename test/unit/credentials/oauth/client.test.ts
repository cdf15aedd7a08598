import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DOCUMENT_REDIRECT_PATH, clientDocument } from '../../../../src/credentials/oauth/client.ts';

describe('the client metadata document', () => {
  it('is the one that the documentation tells organisations to host', () => {
    const text = readFileSync(join(import.meta.dirname, '../../../../docs/credentials.md'), 'utf8');
    const told = JSON.parse(/```json\n([\s\S]+?)```/.exec(text)?.[1] ?? '') as { client_id: string };
    assert.deepEqual(told, clientDocument(told.client_id, [`http://127.0.0.1${DOCUMENT_REDIRECT_PATH}`]));
  });
});
