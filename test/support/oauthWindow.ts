/** Another window of the same user, as a process: opens the state that it is given, and makes calls when it is told to. */
import { createInterface } from 'node:readline';
import { startTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall } from './agent.ts';
import { FileSecretStore } from './fileSecretStore.ts';

const { url, stateFolder, secrets } = JSON.parse(process.argv[2] ?? '{}') as { url: string; stateFolder: string; secrets: string };
const tunnel = await startTunnel({
  upstream: { url, label: 'Fake' },
  stateFolder,
  vault: new FileSecretStore(secrets),
  signIn: { settings: { grant: 'code' } },
});
console.log('ready');
createInterface({ input: process.stdin }).on('line', (line) => {
  const calls = Array.from({ length: Number(line) }, async (_, i) => {
    const answer = (await send(tunnel, { body: toolCall('work', {}, i + 1) })).json();
    return answer.error?.message ?? (answer.result?.['content'] as { text: string }[])[0]?.text ?? '';
  });
  void Promise.all(calls).then((texts) => console.log(JSON.stringify(texts)));
});
process.stdin.once('end', () => void tunnel.close().then(() => process.exit(0)));
