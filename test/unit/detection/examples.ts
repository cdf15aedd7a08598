import { githubChecksum } from '../../../src/detection/rules/checks.ts';
import type { Rule } from '../../../src/detection/rules/rule.ts';
import { shapeExample } from '../../../src/detection/rules/shape.ts';

/** Random numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Texts made from a rule's shapes, with as few characters as may be and as many. */
export function examplesFor(rule: Rule): { readonly ok: readonly string[]; readonly ng: readonly string[] } {
  const make = (shape: string, seed: number, least: boolean) => {
    // Made-up tokens rarely hold what a check wants (digits, a little of everything): the first of a few that do.
    const random = randomFrom(seed);
    return shapeExample(shape, random, least);
  };
  const ok = rule.ok.flatMap((shape, i) => [make(shape, i + 1, true), make(shape, i + 101, false)]);
  const ng = rule.ng.map((shape, i) => (/[{].*:\d|\{\w+\}/.test(shape) ? make(shape, i + 201, true) : shape));
  return { ok: rule.id === 'jwt' ? madeUpJwts() : ok, ng };
}

function madeUpJwts(): string[] {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signature = shapeExample('{base64url:43}', randomFrom(9));
  return [
    `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'nobody', iat: 1 })}.${signature}`,
    `Bearer ${part({ typ: 'JWT', alg: 'ES256' })}.${part({ iss: 'https://example.test' })}.${signature}${signature}`,
    `${part({ alg: 'dir', enc: 'A256GCM' })}..${signature.slice(0, 16)}.${signature}${signature}.${signature.slice(0, 22)}`,
  ];
}

/** A made-up GitHub token with a right checksum. */
export function madeUpGithubToken(seed: number): string {
  const body = shapeExample('{base62:30}', randomFrom(seed));
  return ['gh', 'p_', body, githubChecksum(body)].join('');
}
