import type { ActivityFilter } from '../../audit/activityFilter.ts';
import { visible } from '../../common/text.ts';
import type { App } from '../app.ts';
import { askChoice, askText, single, withoutIcons, type Choice } from '../steps.ts';
import type { ActivityView } from '../views/activityView.ts';

const TITLE = 'Culvert: Filter Activity';

type Part = 'server' | 'tool' | 'clientName' | 'decision' | 'findings' | 'text' | 'clear';
type Mutable = { -readonly [K in keyof ActivityFilter]: ActivityFilter[K] };

/** **Culvert: Filter Activity…** Asks what to filter by, then for the value; “any” takes a part of the filter away. */
export async function filterActivity(app: App, view: ActivityView | undefined): Promise<void> {
  if (!view) return;
  const { filter } = view;
  const { index } = app.core;
  const now = (value: string | undefined) => value ?? 'any';
  const part = await askChoice<Part>(single(TITLE), 'Which calls shall be shown?', [
    {
      label: '$(server) Server',
      description: now(filter.server === undefined ? undefined : withoutIcons(view.serverLabel(filter.server))),
      value: 'server',
    },
    {
      label: '$(tools) Tool',
      description: now(filter.tool === undefined ? undefined : withoutIcons(visible(filter.tool, 60))),
      value: 'tool',
    },
    {
      label: '$(hubot) Agent',
      description: now(filter.clientName === undefined ? undefined : withoutIcons(visible(filter.clientName, 60))),
      value: 'clientName',
    },
    { label: '$(law) Decision or Result', description: now(filter.decision ?? filter.result), value: 'decision' },
    { label: '$(shield) Findings', description: filter.findings === true ? 'only with findings' : 'any', value: 'findings' },
    { label: '$(search) Text', description: now(filter.text), value: 'text' },
    ...(Object.keys(filter).length > 0 ? [{ label: '$(clear-all) Show Everything', value: 'clear' as const }] : []),
  ]);
  if (part.kind !== 'value') return;
  const next: Mutable = { ...filter };
  switch (part.value) {
    case 'clear':
      await view.setFilter({});
      return;
    case 'findings':
      if (filter.findings === true) delete next.findings;
      else next.findings = true;
      break;
    case 'text': {
      const text = await askText(single(TITLE), {
        prompt: 'Text that stands in the record of the call: arguments, reason, error, names. Leave it empty to show all.',
        value: filter.text ?? '',
        validate: (value) => (value.length > 1_000 ? 'That is too long.' : undefined),
      });
      if (text.kind !== 'value') return;
      if (text.value.trim() === '') delete next.text;
      else next.text = text.value.trim();
      break;
    }
    case 'decision': {
      const chosen = await askChoice<ActivityFilter>(single(TITLE), 'How were they decided, or how did they end?', [
        { label: 'Any', value: {} },
        { label: '$(check) Allowed', value: { decision: 'allowed' } },
        { label: '$(circle-slash) Denied', description: 'by a grant, a policy or you', value: { decision: 'denied' } },
        { label: '$(circle-slash) Stopped', description: 'allowed, but not let through, or ended', value: { decision: 'stopped' } },
        { label: '$(warning) Tool Error', description: 'the tool reported an error', value: { result: 'tool-error' } },
        {
          label: '$(error) Server Failed',
          description: 'the server could not be reached or broke off',
          value: { result: 'upstream-error' },
        },
      ]);
      if (chosen.kind !== 'value') return;
      delete next.decision;
      delete next.result;
      Object.assign(next, chosen.value);
      break;
    }
    default: {
      const column = part.value === 'clientName' ? 'name' : part.value;
      const values = await index.values(column);
      if (column === 'server') await view.learnLabels(values);
      const choices: Choice<string | undefined>[] = [
        { label: 'Any', value: undefined },
        ...values
          .map((value) => ({
            label: withoutIcons(column === 'server' ? view.serverLabel(value) : visible(value, 80)),
            ...(column === 'server' && !app.core.servers.get(value) ? { description: value } : {}),
            value,
          }))
          .sort((a, b) => a.label.localeCompare(b.label)),
      ];
      const chosen = await askChoice(
        single(TITLE),
        values.length > 0 ? 'Which one?' : 'Nothing was called yet.',
        choices,
        filter[part.value],
      );
      if (chosen.kind !== 'value') return;
      if (chosen.value !== undefined) next[part.value] = chosen.value;
      else if (part.value === 'server') delete next.server;
      else if (part.value === 'tool') delete next.tool;
      else delete next.clientName;
    }
  }
  await view.setFilter(next);
}
