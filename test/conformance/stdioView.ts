/** A scenario, or checks of one, that a client on stdio can't see. */
interface Unseen {
  readonly scenario: string;
  /** Checks by their ids; without it, all of the scenario. */
  readonly checks?: RegExp;
  readonly why: string;
}

/**
 * What is left out where the suites run over stdio, in front of the same adapter on both sides: the adapter decides it, or the SDK's own
 * stdio transport, not what is between them and the server. The comparison over HTTP has all of it.
 */
const UNSEEN: readonly Unseen[] = [
  { scenario: 'dns-rebinding-protection', why: 'Host and Origin are headers.' },
  { scenario: 'http-header-validation', why: 'There are no headers on stdio.' },
  { scenario: 'http-custom-header-server-validation', why: 'There are no headers on stdio.' },
  { scenario: 'tasks-request-headers', why: 'There are no headers on stdio.' },
  { scenario: 'server-session-lifecycle', why: 'A session on stdio is its process: ids, 404 and DELETE are the adapter’s.' },
  { scenario: 'server-sse-polling', why: 'Streams with event ids that can be continued are HTTP’s.' },
  { scenario: 'server-sse-multiple-streams', why: 'stdio has one stream.' },
  { scenario: 'server-stateless', checks: /-http-/, why: 'Checks of HTTP statuses.' },
  {
    scenario: 'server-stateless',
    checks: /^sep-2575-request-meta-invalid-/,
    why: 'A header without its like in the body: the adapter refuses it, as a server over HTTP does.',
  },
  {
    scenario: 'server-stateless',
    checks: /^sep-2575-server-unsupported-version-error$/,
    why: 'The SDK’s server names the versions it supports over HTTP, but answers otherwise on a stdio connection that is modern already.',
  },
];

/** Whether a check says something about what is between adapter and server. */
export function isOfStdio(scenario: string, check: string): boolean {
  return !UNSEEN.some((unseen) => unseen.scenario === scenario && (unseen.checks?.test(check) ?? true));
}
