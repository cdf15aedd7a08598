import assert from 'node:assert/strict';
import * as vscode from 'vscode';

describe('Culvert in VS Code', () => {
  it('is installed and activates', async () => {
    const extension = vscode.extensions.getExtension('culvert.culvert');
    assert.ok(extension, 'culvert.culvert is not installed');
    await extension.activate();
    assert.equal(extension.isActive, true);
  });
});
