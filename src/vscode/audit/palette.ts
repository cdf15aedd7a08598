import * as vscode from 'vscode';
import { secretsOf } from '../../audit/export/definition.ts';
import { setContext } from '../adapters.ts';
import type { App } from '../app.ts';
import { CONTEXT } from '../names.ts';

/** Tells the palette whether there is a hold to lift, an export to stop, and a secret of an export to enter. */
export function tellPalette({ core }: App): vscode.Disposable {
  const { exports, record } = core;
  const said = new Map<string, boolean>();
  const say = (key: string, value: boolean) => {
    if (said.get(key) === value) return;
    said.set(key, value);
    setContext(key, value);
  };
  const tellHolds = () => say(CONTEXT.hasHolds, record.hold.list().length > 0);
  const tellExports = () => {
    const states = exports.states();
    say(
      CONTEXT.exportsRun,
      states.some(({ state }) => state !== 'off' && state !== 'invalid'),
    );
    say(
      CONTEXT.exportSecrets,
      states.some(({ name }) => {
        const definition = exports.definition(name);
        return definition !== undefined && secretsOf(definition).length > 0;
      }),
    );
  };
  tellHolds();
  tellExports();
  return vscode.Disposable.from(record.hold.onDidChange(tellHolds), exports.onDidChange(tellExports));
}
