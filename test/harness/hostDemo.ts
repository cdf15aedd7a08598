import type { GateRequest } from '../../scripts/demo/upstream.ts';

/** The label under which the demo server is added to Culvert in host suites. */
export const HOST_DEMO_LABEL = 'Demo';

/**
 * The demo server that the runner of the host suites started and gave to the extension: its token, and what reached its gate so far. For host
 * tests, which run in another process than the gate.
 */
export async function hostDemo(): Promise<{ readonly token: string; readonly requests: readonly GateRequest[] }> {
  const address = process.env['CULVERT_TEST_DEMO_CONTROL'];
  if (!address) throw new Error('CULVERT_TEST_DEMO_CONTROL is not set: start the host suites with npm run test:host');
  const response = await fetch(address);
  return (await response.json()) as { token: string; requests: GateRequest[] };
}
