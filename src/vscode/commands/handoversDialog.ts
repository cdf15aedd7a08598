import * as vscode from 'vscode';
import { visible } from '../../common/text.ts';
import type { Handover } from '../../credentials/handovers.ts';
import { bindingOf, destinationOf, type Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { askChoice, single, withoutIcons, type Choice } from '../steps.ts';

const TITLE = 'Culvert: Hand Secrets Between Tools';

interface ToolOf {
  readonly server: Server;
  readonly tool: string;
}

/** **Culvert: Hand Secrets Between Tools…** Lets a secret that one tool gives go to another without the model seeing it, or ends that. */
export async function handSecrets(app: App): Promise<void> {
  const { core } = app;
  const rules = core.handovers.list();
  if (rules.length > 0) {
    const chosen = await askChoice<Handover | 'new'>(single(TITLE), 'Which secrets may go from one tool to another?', [
      { label: '$(add) Allow another pair of tools…', value: 'new' },
      ...rules.map((rule) => ({ label: `$(trash) ${describe(app, rule)}`, description: 'choose it to end it', value: rule })),
    ]);
    if (chosen.kind !== 'value') return;
    if (chosen.value !== 'new') {
      core.handovers.forget(chosen.value.id);
      core.act({
        act: 'server-edited',
        server: chosen.value.from.server,
        subject: describe(app, chosen.value),
        detail: 'secrets are no longer handed on',
      });
      return;
    }
  }
  const from = await pickTool(app, 'Which tool gives the secret?');
  const to = from && (await pickTool(app, 'Which tool gets it?'));
  if (!from || !to) return;
  const own = from.server.credentials.flatMap((id) => core.credentials.get(id) ?? []);
  const which = await askChoice<string | undefined>(single(TITLE), 'Which secrets?', [
    { label: 'What is found in its results', description: 'such as a key that it just made; no credential of Culvert', value: undefined },
    ...own.map(({ id, name }) => ({
      label: withoutIcons(visible(name, 80)),
      description: 'a credential of Culvert’s, if a result holds it',
      value: id,
    })),
  ]);
  if (which.kind !== 'value') return;
  const task = core.access.tasks.for(from.server.id);
  const choice = await vscode.window.showWarningMessage(
    `Hand secrets from ${from.tool} to ${to.tool}?`,
    {
      modal: true,
      detail: `A secret in a result of ${visible(from.tool)} (${from.server.label}) may go, in an argument, to ${visible(to.tool)} of ${to.server.label} at ${destinationOf(to.server)}. The model sees ⟦culvert:…⟧ in its place, which counts ${task ? `while the task “${task.name}” runs` : 'for 15 minutes, or while a task runs'}. What that server does with it is up to it.`,
    },
    'Allow',
  );
  if (choice !== 'Allow') return;
  const rule = core.handovers.allow({
    from: { server: from.server.id, tool: from.tool },
    to: { server: to.server.id, tool: to.tool },
    binding: bindingOf(to.server.upstream),
    ...(which.value === undefined ? {} : { credential: which.value }),
  });
  core.act({ act: 'server-edited', server: from.server.id, subject: describe(app, rule), detail: 'secrets are handed on' });
}

function describe({ core }: App, { from, to }: Handover): string {
  const name = ({ server, tool }: Handover['from']) => `${visible(tool, 40)} of ${core.servers.get(server)?.label ?? 'a removed server'}`;
  return withoutIcons(`${name(from)} to ${name(to)}`);
}

async function pickTool({ core }: App, question: string): Promise<ToolOf | undefined> {
  const choices = core.servers.list().flatMap((server) =>
    core.catalog.tools(server.id).map(({ name }): Choice<ToolOf> => ({
      label: withoutIcons(visible(name, 80)),
      description: withoutIcons(server.label),
      value: { server, tool: name },
    })),
  );
  if (choices.length === 0) {
    void vscode.window.showInformationMessage('No tools are known yet. Use the servers once, then choose again.');
    return undefined;
  }
  const result = await askChoice(single(TITLE), question, choices);
  return result.kind === 'value' ? result.value : undefined;
}
