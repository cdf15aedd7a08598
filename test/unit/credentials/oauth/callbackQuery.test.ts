import assert from 'node:assert/strict';
import { parametersOf } from '../../../../src/credentials/oauth/callbackQuery.ts';

describe('the query of a callback through the editor', () => {
  it('means the same as it was sent and as VS Code decoded it', () => {
    const sent = 'code=a%2Bb-_.~&state=xyz&iss=https%3A%2F%2Fauth.example%2Ftenant';
    for (const query of [sent, decodeURIComponent(sent)])
      assert.deepEqual(Object.fromEntries(parametersOf(query)), { code: 'a+b-_.~', state: 'xyz', iss: 'https://auth.example/tenant' });
  });

  it('takes a bare percent sign as it is, and shows every repeated parameter', () => {
    assert.equal(parametersOf('code=100%&state=s').get('code'), '100%');
    assert.deepEqual(parametersOf('state=a&state=b').getAll('state'), ['a', 'b']);
    assert.equal(parametersOf('').size, 0);
  });
});
