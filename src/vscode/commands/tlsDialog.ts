import { X509Certificate } from 'node:crypto';
import * as vscode from 'vscode';
import { Secret } from '../../credentials/secret.ts';
import { MAX_CREDENTIAL_NAME_CHARACTERS } from '../../credentials/credential.ts';
import { messageOf } from '../../common/errors.ts';
import { MAX_PINS, Pin, bindingOf, type Server, type Tls } from '../../mcp/server.ts';
import { inspectCertificate } from '../../upstream/tls.ts';
import { installCertificate, makeKey, pendingKey, type Changed } from './clientKeyDialog.ts';
import { readPem } from './pem.ts';
import type { App } from '../app.ts';
import { settings } from '../adapters.ts';
import { askChoice, askText, single, type Choice } from '../steps.ts';

type Change =
  'authority' | 'pin' | 'backup' | 'client' | 'make' | 'install' | 'unverified' | 'verified' | 'no-authorities' | 'no-pins' | 'no-client';

/** What of **Edit Server…** concerns TLS: authorities, pinned keys, our own certificate, and the switch that nobody should need. */
export async function editTls(app: App, server: Server, title: string): Promise<void> {
  const { upstream } = server;
  if (upstream.kind === 'stdio') return;
  const tls = upstream.tls ?? {};
  const choices: Choice<Change>[] = [
    { label: '$(verified) Trust another authority', description: 'a file of certificates (PEM), for this server only', value: 'authority' },
    // Behind SSH it can’t be looked at from here; its pin can be entered.
    ...(upstream.ssh === undefined
      ? [{ label: '$(pin) Pin the key it shows now', description: 'from then on no other key will do', value: 'pin' as const }]
      : []),
    {
      label: tls.pins ? '$(add) Add a backup pin' : '$(add) Enter a pin',
      description: `${tls.pins?.length ?? 0} of at most ${MAX_PINS}`,
      value: 'backup',
    },
    { label: '$(person) Show a certificate of ours', description: 'two files: the certificate and its private key', value: 'client' },
    {
      label: '$(key) Make a key for a certificate of ours',
      description: 'in the system’s keyring; it never lies in a file',
      value: 'make',
    },
    ...(pendingKey(app, server)
      ? [
          {
            label: '$(verified) Install the certificate that was asked for',
            description: 'one file; its key is in the keyring already',
            value: 'install' as const,
          },
        ]
      : []),
    ...(tls.authorities === undefined
      ? []
      : [{ label: '$(trash) Trust no more authorities than the system does', value: 'no-authorities' as const }]),
    ...(tls.pins ? [{ label: '$(trash) Remove its pins', description: tls.pins.join(', '), value: 'no-pins' as const }] : []),
    ...(tls.clientCertificate ? [{ label: '$(trash) Show no certificate of ours', value: 'no-client' as const }] : []),
    tls.unverified === true
      ? { label: '$(shield) Check certificates again', value: 'verified' }
      : {
          label: '$(warning) Don’t check certificates',
          description: 'anybody on the way could read and change everything',
          value: 'unverified',
        },
  ];
  const what = await askChoice(single(`${title}: ${server.label}`), 'What do you want to change?', choices);
  if (what.kind !== 'value') return;
  const changed = await change(app, server, tls, what.value, title);
  if (!changed) return;
  const place = Object.keys(changed.tls).length > 0 ? { ...upstream, tls: changed.tls } : without(upstream, 'tls');
  app.core.servers.put({ ...server, upstream: place, credentials: changed.credentials ?? server.credentials });
  app.core.act({ act: 'server-edited', server: server.id, subject: server.label, detail: `TLS: ${changed.said}` });
}

function without<T extends object, K extends keyof T>(object: T, key: K): Omit<T, K> {
  return Object.fromEntries(Object.entries(object).filter(([name]) => name !== key)) as Omit<T, K>;
}

async function change(app: App, server: Server, tls: Tls, what: Change, title: string): Promise<Changed | undefined> {
  const { upstream } = server;
  if (upstream.kind === 'stdio') return undefined;
  switch (what) {
    case 'authority': {
      const text = await readPem('Trust These Authorities', 'certificates');
      if (text === undefined) return undefined;
      return { tls: { ...tls, authorities: `${tls.authorities ?? ''}${text}` }, said: 'another authority is trusted' };
    }
    case 'pin': {
      const seen = await look(upstream.url, tls);
      if (!seen) return undefined;
      const choice = await vscode.window.showWarningMessage(
        `Pin the key that ${new URL(upstream.url).host} shows now?`,
        {
          modal: true,
          detail: `${describe(seen)}\n\nWhen the server changes its key, calls fail until you pin the new one. A backup pin spares you that.`,
        },
        'Pin',
      );
      return choice === 'Pin' ? { tls: { ...tls, pins: [seen.pin] }, said: 'the key is pinned' } : undefined;
    }
    case 'backup': {
      const result = await askText(single(title), {
        prompt: 'The pin of the key that the server will change to: base64 of the SHA-256 of its public key.',
        placeholder: `${'A'.repeat(43)}=`,
        validate: (value) => {
          const parsed = Pin.safeParse(value.trim());
          if (!parsed.success) return parsed.error.issues[0]?.message ?? 'That is no pin.';
          return (tls.pins?.length ?? 0) >= MAX_PINS ? `At most ${MAX_PINS} pins.` : undefined;
        },
      });
      if (result.kind !== 'value') return undefined;
      return { tls: { ...tls, pins: [...new Set([...(tls.pins ?? []), result.value.trim()])] }, said: 'a backup pin was added' };
    }
    case 'client':
      return clientCertificate(app, server, tls);
    case 'make':
      return makeKey(app, server, tls, title);
    case 'install':
      return installCertificate(app, server, tls);
    case 'unverified': {
      const choice = await vscode.window.showWarningMessage(
        `Don’t check the certificates of ${server.label}?`,
        {
          modal: true,
          detail:
            'Anybody on the way to it could read its credential and change what it answers. Trusting its authority, or pinning its key, is the safe way. It is shown in red until certificates are checked again.',
        },
        'Don’t Check',
      );
      return choice === 'Don’t Check' ? { tls: { ...tls, unverified: true }, said: 'certificates are not checked' } : undefined;
    }
    case 'verified': {
      return { tls: without(tls, 'unverified'), said: 'certificates are checked' };
    }
    case 'no-authorities': {
      return { tls: without(tls, 'authorities'), said: 'only the system’s authorities are trusted' };
    }
    case 'no-pins': {
      return { tls: without(tls, 'pins'), said: 'no key is pinned' };
    }
    case 'no-client': {
      const gone = tls.clientCertificate;
      if (gone) await app.core.credentials.forget(gone.keyCredential);
      return {
        tls: without(tls, 'clientCertificate'),
        said: 'no certificate of ours is shown',
        credentials: server.credentials.filter((id) => id !== gone?.keyCredential),
      };
    }
  }
}

async function clientCertificate(app: App, server: Server, tls: Tls): Promise<Changed | undefined> {
  const chain = await readPem('Our Certificate', 'certificates');
  if (chain === undefined) return undefined;
  const key = await readPem('Its Private Key', 'key');
  if (key === undefined) return undefined;
  if (!new X509Certificate(chain).checkPrivateKey((await import('node:crypto')).createPrivateKey(key))) {
    void vscode.window.showErrorMessage('The private key is not that of the certificate. Choose the two files that belong together.');
    return undefined;
  }
  const name = `${server.label} client key`.slice(0, MAX_CREDENTIAL_NAME_CHARACTERS);
  const sealed = await app.core.credentials.seal(name, { kind: 'client-key' }, [bindingOf(server.upstream)], new Secret(key.trim()));
  app.core.act({ act: 'credential-sealed', subject: name, detail: 'client certificate' });
  const before = tls.clientCertificate?.keyCredential;
  if (before !== undefined) await app.core.credentials.forget(before);
  void vscode.window.showInformationMessage('The key is in the system’s keyring now. The file it came from can be deleted.');
  return {
    tls: { ...tls, clientCertificate: { chain, keyCredential: sealed.id } },
    said: 'a certificate of ours is shown',
    credentials: [...server.credentials.filter((id) => id !== before), sealed.id],
  };
}

/** A certificate as the user decides by it. */
interface Seen {
  readonly text: string;
  readonly pin: string;
  readonly pem: string;
}

async function look(url: string, tls: Tls): Promise<Seen | undefined> {
  try {
    const seen = await inspectCertificate(new URL(url), {
      tls: tls.clientCertificate ? without(tls, 'clientCertificate') : tls,
      proxies: settings.proxies(),
    });
    const lines = [
      `For: ${seen.subject}`,
      `By: ${seen.issuer}`,
      `Until: ${seen.validTo}`,
      `SHA-256 of its key: ${seen.pin}`,
      ...(seen.problem === undefined ? [] : [`Not trusted so far: ${seen.problem}`]),
    ];
    return { text: lines.join('\n'), pin: seen.pin, pem: seen.pem };
  } catch (error) {
    void vscode.window.showErrorMessage(messageOf(error));
    return undefined;
  }
}

function describe({ text }: Seen): string {
  return text;
}

/** After a trial that failed at TLS: shows the certificate and trusts exactly it, if the user says so. */
export async function askTrust(label: string, url: string, tls: Tls | undefined): Promise<Tls | undefined> {
  const seen = await look(url, tls ?? {});
  if (!seen) return undefined;
  const choice = await vscode.window.showWarningMessage(
    `Trust the certificate of ${new URL(url).host}?`,
    {
      modal: true,
      detail: `${seen.text}\n\nCompare the SHA-256 with what the people who run the server tell you, not by the same way. It will be trusted for ${label} only, and no other key will do.`,
    },
    'Trust It',
  );
  return choice === 'Trust It' ? { ...tls, authorities: `${tls?.authorities ?? ''}${seen.pem.trim()}\n`, pins: [seen.pin] } : undefined;
}
