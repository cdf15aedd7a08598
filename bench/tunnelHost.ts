/** The tunnel with everything on, in a process of its own: credential, decision, record, inspection. Arguments: upstream URL, secret. */
import { startTunnel } from '../src/tunnel/index.ts';

const [, , url = '', secret = ''] = process.argv;
const tunnel = await startTunnel({ upstream: { url }, auth: { placement: { kind: 'bearer' }, value: secret }, access: 'everything' });
const { socketPath, path, token, serverId, runtimeFolder, capabilityStem } = tunnel;
console.log(JSON.stringify({ socketPath, path, token, serverId, runtimeFolder, capabilityStem }));
process.stdin.resume().once('end', () => void tunnel.close().then(() => process.exit(0)));
