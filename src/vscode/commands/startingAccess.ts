import type { StartingAccess } from '../../authorization/grantChanges.ts';
import type { Probe } from '../../upstream/probe.ts';
import { askChoice } from '../steps.ts';

/** With what access a new server starts. */
export async function askStart(
  title: string,
  tools: Extract<Probe, { ok: true }>['tools'] | undefined,
): Promise<StartingAccess | undefined> {
  const reading = tools?.filter((t) => /"readOnlyHint"\s*:\s*true/.test(t.definition)).length ?? 0;
  const count =
    tools === undefined
      ? 'The tools are not known yet'
      : `${tools.length} ${tools.length === 1 ? 'tool' : 'tools'}, ${reading} of them say that they only read`;
  const result = await askChoice<StartingAccess>({ title, step: 0, totalSteps: 0, canGoBack: false }, `${count}. How shall access start?`, [
    {
      label: '$(question) Ask every time',
      description: 'recommended',
      detail: 'An agent’s call waits for your answer; you can make it last',
      value: 'ask',
    },
    { label: '$(book) Tools that only read', detail: 'Allows tools that say they only read; everything else is denied', value: 'reading' },
    { label: '$(circle-slash) Nothing', detail: 'Switch tools on one by one in the Grants view', value: 'nothing' },
  ]);
  return result.kind === 'value' ? result.value : undefined;
}
