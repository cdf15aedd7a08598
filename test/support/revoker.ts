/**
 * Another window that gives and takes back: `node revoker.ts <state folder> <upstream url> <secrets file> <socket> <path> <token> <rounds>`. In
 * each round it gives a grant and calls through the tunnel of the other process, takes it back, and calls at once again. Writes how often the
 * call did not end as the grant said, as JSON.
 */
import { FileSecretStore } from './underLoad.ts';
import { startTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall, type Door } from './agent.ts';

const [stateFolder = '', url = '', secrets = '', socketPath = '', path = '', token = '', rounds = '0'] = process.argv.slice(2);
const own = await startTunnel({ upstream: { url }, stateFolder, vault: new FileSecretStore(secrets) });
const door: Door = { socketPath, url: undefined, path, token };
const { access } = own.core;
const passes = async () => (await send(door, { body: toolCall('echo') })).json().error === undefined;
let wrong = 0;
for (let i = 0; i < Number(rounds); i++) {
  const grant = access.give({
    server: own.serverId,
    target: { kind: 'tools', names: ['echo'] },
    effect: 'allow',
    scope: {},
    givenBy: 'tree',
  });
  if (!(await passes())) wrong++;
  access.revoke([grant.id]);
  if (await passes()) wrong++;
}
process.stdout.write(JSON.stringify({ wrong }));
await own.close();
process.exit(0);
