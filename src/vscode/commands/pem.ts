import { X509Certificate } from 'node:crypto';
import * as vscode from 'vscode';
import { refuseValue } from '../../credentials/injection.ts';
import { MAX_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import { messageOf } from '../../common/errors.ts';

/** Lets the user choose a PEM file and checks that it holds what is wanted. */
export async function readPem(title: string, what: 'certificates' | 'key'): Promise<string | undefined> {
  const [file] =
    (await vscode.window.showOpenDialog({
      title: `Culvert: ${title}`,
      openLabel: 'Choose',
      filters: { PEM: ['pem', 'crt', 'cer', 'key'], 'All files': ['*'] },
    })) ?? [];
  if (!file) return undefined;
  try {
    const text = Buffer.from(await vscode.workspace.fs.readFile(file)).toString('utf8');
    if (what === 'key') {
      const problem = refuseValue(text.trim(), { kind: 'client-key' }, { min: 1, max: MAX_SECRET_CHARACTERS });
      if (problem !== undefined) throw new Error(problem);
      return text;
    }
    const blocks = text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length === 0) throw new Error('It holds no certificate in PEM form (-----BEGIN CERTIFICATE-----).');
    for (const block of blocks) new X509Certificate(block);
    return `${blocks.join('\n')}\n`;
  } catch (error) {
    // Never the content: it may be a key.
    void vscode.window.showErrorMessage(`${vscode.workspace.asRelativePath(file)} can’t be used. ${messageOf(error)}`);
    return undefined;
  }
}
