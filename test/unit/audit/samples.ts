import type { Intent, Outcome } from '../../../src/audit/record.ts';

/** A call that is allowed. */
export const intent: Intent = {
  client: 'agent',
  window: 'win-1',
  claims: {},
  server: 'srv-1',
  serverLabel: 'GitHub',
  origin: 'https://a.example',
  era: 'legacy',
  method: 'tools/call',
  tool: 'echo',
  effect: 'allow',
  decidedBy: 'grant-1',
  reason: '',
  credentials: [],
  requestBytes: 10,
};

/** How it ended well. */
export const outcome: Outcome = { result: 'ok', status: 200, responseBytes: 5, findings: 0, totalMs: 1, decisionMs: 0 };
