const WORDS = [
  'the',
  'request',
  'returned',
  'status',
  '"ok"',
  'für',
  'user_4711',
  'https://example.com/a?b=c',
  '2026-07-28T12:00:00Z',
  '{"key": 42}',
  'deadbeefcafe',
  '\n',
  'and',
  'then',
  'nothing',
  '日本',
];

/** Text as tools return it: words, numbers, links, quotes, line breaks, some of it not ASCII. The same for the same size every time. */
export function resultText(bytes: number): string {
  let state = 7;
  const parts: string[] = [];
  let length = 0;
  while (length < bytes) {
    // Numerical Recipes' generator: no randomness wanted, only variety.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const word = `${WORDS[state % WORDS.length] ?? ''} `;
    parts.push(word);
    length += Buffer.byteLength(word);
  }
  return parts.join('').slice(0, bytes);
}
