import { spawn } from 'node:child_process';

const SCRIPT = `
  const { HttpUpstream } = await import(${JSON.stringify(new URL('../../src/upstream/httpUpstream.ts', import.meta.url).href)});
  const upstream = new HttpUpstream();
  const sent = upstream.send({ method: 'GET', url: new URL(process.argv[1]), headers: {}, body: undefined, signal: new AbortController().signal });
  console.log(await sent.then((response) => String(response.status), (error) => error.code));
  upstream.dispose();`;

/** Asks a server from a new process, since Node reads `variables` at its start. Resolves to the status of the answer, or the code of the error. */
export function askInFreshNode(url: string, variables: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    const environment = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/_proxy$|^(NODE_EXTRA_CA_CERTS|SSL_CERT_FILE)$/i.test(name)),
    );
    const child = spawn(process.execPath, ['--input-type=module', '-e', SCRIPT, url], {
      env: { ...environment, ...variables },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (text: Buffer) => (out += text.toString()));
    child.once('error', reject).once('exit', () => resolve(out.trim()));
  });
}
