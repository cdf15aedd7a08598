/**
 * `npm start -- --headless`: the main job without a window. A real agent client talks through the bridge and the tunnel to the demo
 * server; every step is checked, and the exit code is 1 if one did not hold.
 */
import path from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import type { Answer } from '../src/authorization/approvalRequest.ts';
import { REQUEST_ACCESS } from '../src/authorization/requestAccess.ts';
import { startTunnel } from '../src/tunnel/index.ts';
import { PROJECT_ROOT } from '../test/harness/paths.ts';
import { build } from './build.ts';
import { LEAKING_TOOL, startDemoUpstream } from './demo/upstream.ts';

/** Plays the story and prints it. Returns the exit code. */
export async function run(): Promise<number> {
  let failures = 0;
  const check = (holds: boolean, text: string) => {
    if (!holds) failures++;
    console.log(`   ${holds ? 'ok  ' : 'FAIL'} ${text}`);
  };
  const step = (text: string) => console.log(`\n${text}`);

  await build();
  const upstream = await startDemoUpstream();
  const asked: string[] = [];
  const answers: Answer[] = ['short'];
  const tunnel = await startTunnel({
    upstream: { url: upstream.url, label: 'Demo' },
    auth: { name: 'Demo credential', placement: { kind: 'bearer' }, value: upstream.token },
    access: 'nothing',
    present: true,
    approver: {
      ask(request) {
        asked.push(
          `${request.call.tool ?? ''} ${request.argumentsText ?? ''} to ${request.destination} with ${request.credentials.join(', ')}`,
        );
        return Promise.resolve(answers.shift() ?? 'deny');
      },
    },
  });
  const allow = (tool: string, effect: 'allow' | 'ask') =>
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: [tool] }, effect, 'headless');
  allow('echo', 'allow');
  allow('get-sum', 'ask');
  allow(LEAKING_TOOL, 'allow');

  step(`1. A real MCP server (server-everything) behind a gate that wants a bearer token: ${upstream.url}`);
  console.log('   The token is sealed in the vault of the tunnel. The agent gets a bridge process and no key:');
  const args = [
    path.join(PROJECT_ROOT, 'dist/bridge.cjs'),
    '--server',
    tunnel.serverId,
    '--capability',
    tunnel.capabilityStem,
    '--runtime',
    tunnel.runtimeFolder,
  ];
  check(!args.join(' ').includes(upstream.token), 'no secret in the command line of the bridge');
  const client = new Client({ name: 'headless-agent', version: '1' });
  await client.connect(new StdioClientTransport({ command: process.execPath, args, env: {} }));
  const { tools } = await client.listTools();
  check(
    tools
      .map((t) => t.name)
      .sort()
      .join() === ['echo', 'get-sum', LEAKING_TOOL, REQUEST_ACCESS].sort().join(),
    `the agent sees only what it may call: ${tools.map((t) => t.name).join(', ')}`,
  );

  const call = async (name: string, input: Record<string, unknown>): Promise<string> => {
    const result = await client
      .callTool({ name, arguments: input })
      .catch((error: unknown) => ({ content: [{ type: 'text', text: `error: ${error instanceof Error ? error.message : ''}` }] }));
    return (result.content as { readonly text?: string }[]).map((c) => c.text ?? '').join('\n');
  };

  step('2. An allowed call: echo');
  const echoed = await call('echo', { message: 'hello' });
  check(echoed.includes('hello'), `answer: ${echoed}`);
  check(
    upstream.toolCalls('echo').every((r) => r.authorized) && upstream.toolCalls('echo').length === 1,
    'it reached the server once, with the right credential',
  );

  step('3. A call that was not granted: get-tiny-image');
  const refused = await call('get-tiny-image', {});
  check(/denied/i.test(refused), refused);
  check(upstream.toolCalls('get-tiny-image').length === 0, 'nothing of it left the machine');

  step('4. A call that asks: get-sum. The user answers “Allow for 15 minutes”');
  const sum = await call('get-sum', { a: 20, b: 22 });
  check(sum.includes('42'), `answer: ${sum}`);
  check(asked.length === 1, `asked: ${asked[0] ?? 'nothing'}`);
  await call('get-sum', { a: 1, b: 2 });
  check(asked.length === 1, 'the second call was not asked about again');

  step(`5. A result that holds the credential: ${LEAKING_TOOL}`);
  const leaked = await call(LEAKING_TOOL, {});
  check(!leaked.includes(upstream.token), 'the agent did not get it');
  check(leaked.includes('⟦culvert: Demo credential redacted⟧'), `it reads: ${/.*culvert:.*/.exec(leaked)?.[0].trim() ?? ''}`);
  const finding = tunnel.core.findings.list({ dismissed: false })[0];
  check(
    finding !== undefined,
    `leak warning: “${finding?.subject ?? ''}” in an answer of ${finding?.tool ?? ''}, ${finding?.action ?? ''}`,
  );

  step('6. The record');
  for (const { intent, outcome } of tunnel.core.audit.activities({ limit: 20, named: true }).reverse()) {
    console.log(
      `   ${intent.effect === 'allow' ? 'allowed' : 'denied '}  ${(intent.tool ?? '').padEnd(16)} ${(outcome?.result ?? 'running').padEnd(8)} ${String(outcome?.totalMs ?? '').padStart(8)} ms   ${intent.reason}`,
    );
  }
  await client.close();
  await tunnel.core.audit.checkpoint();
  const verified = await tunnel.core.audit.verify();
  check(verified.problems.length === 0, `verified: ${verified.entries} entries, ${verified.checkpoints} signed checkpoint`);

  await tunnel.close();
  await upstream.close();
  console.log(failures === 0 ? '\nEverything held.' : `\n${failures} of the promises did not hold.`);
  return failures === 0 ? 0 : 1;
}
