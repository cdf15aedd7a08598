import { X509Certificate, createPrivateKey } from 'node:crypto';
import * as vscode from 'vscode';
import { makeClientKey } from '../../credentials/clientKey.ts';
import { MAX_CREDENTIAL_NAME_CHARACTERS, type Credential } from '../../credentials/credential.ts';
import { bindingOf, type Server, type Tls } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { askChoice, askText, single } from '../steps.ts';
import { readPem } from './pem.ts';

/** What became of the TLS of a server. */
export interface Changed {
  readonly tls: Tls;
  readonly said: string;
  readonly credentials?: readonly string[];
}

/** A key of a server that still waits for its certificate. */
export function pendingKey({ core }: App, { credentials, upstream }: Server): Credential | undefined {
  const used = upstream.kind === 'stdio' ? undefined : upstream.tls?.clientCertificate?.keyCredential;
  return credentials
    .map((id) => core.credentials.get(id))
    .find((credential) => credential?.placement.kind === 'client-key' && credential.id !== used);
}

/** Makes a key in the vault, with a certificate that it signs itself or a request for one. What can be shown to others is opened in an editor. */
export async function makeKey(app: App, server: Server, tls: Tls, title: string): Promise<Changed | undefined> {
  const { core } = app;
  const name = await askText(single(title), {
    prompt: 'The name in the certificate: whom the server shall see.',
    placeholder: 'me@example.com',
    validate: (value) => (value.trim() === '' || value.trim().length > 64 ? 'Enter a name of at most 64 characters.' : undefined),
  });
  if (name.kind !== 'value') return undefined;
  const what = await askChoice<'self' | 'request'>(single(title), 'Who signs the certificate?', [
    { label: 'Nobody else', description: 'the server is told the certificate itself', value: 'self' },
    { label: 'An authority', description: 'it gets a request, and you install what it sends back', value: 'request' },
  ]);
  if (what.kind !== 'value') return undefined;
  const made = makeClientKey(name.value.trim());
  const label = `${server.label} client key`.slice(0, MAX_CREDENTIAL_NAME_CHARACTERS);
  const sealed = await core.credentials.seal(label, { kind: 'client-key' }, [bindingOf(server.upstream)], made.key);
  core.act({ act: 'credential-sealed', subject: label, detail: 'made here, for a client certificate' });
  const pending = pendingKey(app, server);
  if (pending) await core.credentials.forget(pending.id);
  const credentials = server.credentials.filter((id) => id !== pending?.id);
  if (what.value === 'request') {
    await show(made.request());
    void vscode.window.showInformationMessage(
      'Give the request to the authority. When it sends the certificate, install it with “Culvert: Edit Server…”, TLS. The key stays in the keyring.',
    );
    return { tls, said: 'a key was made, its certificate was asked for', credentials: [...credentials, sealed.id] };
  }
  const chain = made.certificate(Date.now());
  const before = tls.clientCertificate?.keyCredential;
  if (before !== undefined) await core.credentials.forget(before);
  await show(chain);
  void vscode.window.showInformationMessage('Give this certificate to whoever runs the server. The key stays in the keyring.');
  return {
    tls: { ...tls, clientCertificate: { chain, keyCredential: sealed.id } },
    said: 'a certificate of ours is shown, with a key made here',
    credentials: [...credentials.filter((id) => id !== before), sealed.id],
  };
}

/** Takes in the certificate for a key that was made before. */
export async function installCertificate(app: App, server: Server, tls: Tls): Promise<Changed | undefined> {
  const { core } = app;
  const pending = pendingKey(app, server);
  const chain = pending && (await readPem('Our Certificate', 'certificates'));
  if (!pending || chain === undefined) return undefined;
  const opened = await core.credentials.vault.open(pending.id, bindingOf(server.upstream));
  if (!opened.ok || !new X509Certificate(chain).checkPrivateKey(createPrivateKey(opened.secret.expose()))) {
    void vscode.window.showErrorMessage(
      'The certificate is not for the key that was made here. Choose the one that the authority sent for it.',
    );
    return undefined;
  }
  const before = tls.clientCertificate?.keyCredential;
  if (before !== undefined) await core.credentials.forget(before);
  return {
    tls: { ...tls, clientCertificate: { chain, keyCredential: pending.id } },
    said: 'a certificate of ours is shown',
    credentials: server.credentials.filter((id) => id !== before),
  };
}

async function show(text: string): Promise<void> {
  await vscode.window.showTextDocument(await vscode.workspace.openTextDocument({ content: text, language: 'plaintext' }));
}
