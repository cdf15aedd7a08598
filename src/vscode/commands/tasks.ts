import * as vscode from 'vscode';
import type { TaskGrant } from '../../authorization/grantChanges.ts';
import { MAX_TASK_MS, MAX_TASK_NAME, type Task } from '../../authorization/tasks.ts';
import { remaining, visible } from '../../common/text.ts';
import { destinationOf, type Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { wallClock } from '../reach.ts';
import { askChoice, askMany, askText, runSteps, single, withoutIcons, type Step, type StepPlace } from '../steps.ts';

/** What a task may do from its start; what is allowed meanwhile comes on top. */
type TaskAccess = 'nothing' | 'reading' | 'everything' | 'some';

interface TaskDraft {
  readonly name: string;
  readonly servers: readonly string[];
  readonly access: TaskAccess;
  readonly durationMs: number;
}

const HOUR_MS = 60 * 60 * 1000;
const TITLE = 'Culvert: Start Task';

/** **Culvert: Start Task…** Name, servers, what it may do from the start, how long. */
export async function startTask(app: App): Promise<void> {
  const servers = app.core.servers.list();
  const draft: TaskDraft = { name: '', servers: servers.map((s) => s.id), access: 'nothing', durationMs: HOUR_MS };
  const steps: Step<TaskDraft>[] = [askName, ...(servers.length > 1 ? [askServers(servers)] : []), askAccess, askDuration];
  await run(app, draft, steps);
}

/** Starts a task in which everything of a server is allowed. */
export async function startTaskWith(app: App, server: Server): Promise<void> {
  await run(app, { name: '', servers: [server.id], access: 'everything', durationMs: HOUR_MS }, [askName, askDuration]);
}

async function run(app: App, draft: TaskDraft, steps: readonly Step<TaskDraft>[]): Promise<void> {
  const done = await runSteps(TITLE, draft, steps);
  if (!done) return;
  const { core } = app;
  const { name, durationMs } = done;
  // A server may have been removed while the user chose.
  const servers = done.servers.flatMap((id) => core.servers.get(id) ?? []);
  if (servers.length === 0) return;
  const grants = done.access === 'some' ? await askTools(app, servers) : servers.flatMap((server) => grantsOf(app, server, done.access));
  if (!grants) return;
  const task = core.access.startTask({ name, servers: servers.map((s) => s.id), durationMs }, grants);
  const end = wallClock(task.endsAt, Date.now());
  const choice = await vscode.window.showInformationMessage(
    `The task “${visible(task.name, 60)}” runs until ${end}. What you allow on ${servers.map((s) => s.label).join(', ')} meanwhile ends with it.`,
    'End Task',
  );
  if (choice === 'End Task') core.access.endTask(task.id);
}

const askName: Step<TaskDraft> = async (draft, place) => {
  const result = await askText(place, {
    prompt: 'What are you about to do? The name stands on the record of its calls.',
    placeholder: 'fix the label printer',
    value: draft.name,
    validate: (value) =>
      value.trim() === '' ? 'Enter a name.' : value.trim().length > MAX_TASK_NAME ? `At most ${MAX_TASK_NAME} characters.` : undefined,
  });
  return result.kind === 'value' ? { kind: 'value', value: { ...draft, name: result.value.trim() } } : result;
};

function askServers(servers: readonly Server[]): Step<TaskDraft> {
  return async (draft, place) => {
    const result = await askMany(
      place,
      'Which servers is it about?',
      servers.map((s) => ({ label: withoutIcons(s.label), description: withoutIcons(destinationOf(s)), value: s.id })),
      draft.servers,
    );
    if (result.kind !== 'value') return result;
    return result.value.length === 0 ? askServers(servers)(draft, place) : { kind: 'value', value: { ...draft, servers: result.value } };
  };
}

async function askAccess(draft: TaskDraft, place: StepPlace) {
  const result = await askChoice<TaskAccess>(
    place,
    'What may it do from the start?',
    [
      { label: '$(question) Nothing yet', description: 'agents ask as always; what you allow ends with the task', value: 'nothing' },
      { label: '$(eye) Tools that only read', description: 'as they said when they were first seen', value: 'reading' },
      { label: '$(list-selection) Tools that I choose…', description: 'in the step after the last', value: 'some' },
      { label: '$(unlock) Everything', description: 'but for what you denied', value: 'everything' },
    ],
    draft.access,
  );
  return result.kind === 'value' ? { kind: 'value' as const, value: { ...draft, access: result.value } } : result;
}

async function askDuration(draft: TaskDraft, place: StepPlace) {
  const ends = (ms: number) => `until ${wallClock(Date.now() + ms, Date.now())}`;
  const result = await askChoice<number>(
    place,
    'For how long, at most? You can end it earlier.',
    [
      { label: '$(clock) 15 minutes', ms: HOUR_MS / 4 },
      { label: '$(clock) 1 hour', ms: HOUR_MS },
      { label: '$(clock) 4 hours', ms: 4 * HOUR_MS },
      { label: '$(clock) 12 hours', ms: MAX_TASK_MS },
    ].map(({ label, ms }) => ({ label, description: ends(ms), value: ms })),
    draft.durationMs,
  );
  return result.kind === 'value' ? { kind: 'value' as const, value: { ...draft, durationMs: result.value } } : result;
}

async function askTools(app: App, servers: readonly Server[]): Promise<TaskGrant[] | undefined> {
  const { core } = app;
  const picks = servers.flatMap((server) =>
    core.catalog.tools(server.id).map((tool) => ({
      label: withoutIcons(visible(tool.name, 80)),
      description: withoutIcons(`${server.label}${tool.reads ? ', only reads' : ''}`),
      value: { server: server.id, tool: tool.name },
    })),
  );
  const result = await askMany(single(TITLE), 'Which tools may it call without asking?', picks, []);
  if (result.kind !== 'value') return undefined;
  return result.value.map(({ server, tool }) => ({ server, target: { kind: 'tools', names: [tool] }, effect: 'allow' }));
}

function grantsOf(app: App, server: Server, access: TaskAccess): readonly TaskGrant[] {
  if (access === 'everything') return everythingOf(app, server);
  return access === 'reading' ? [{ server: server.id, target: { kind: 'reading-tools' }, effect: 'allow' }] : [];
}

/** What “everything” of a server is: it goes before what asks, not before what is denied. */
export function everythingOf(app: App, server: Server): readonly TaskGrant[] {
  const asks = app.core.access.forServer(server.id).filter((g) => g.effect === 'ask');
  return (['all-tools', 'resources', 'prompts', 'completion'] as const).map((kind) => ({
    server: server.id,
    target: { kind },
    effect: 'allow' as const,
    answers: asks.slice(0, 16).map((g) => g.id),
  }));
}

/** **Culvert: End Task** What was granted for it ends at once. */
export async function endTask(app: App): Promise<void> {
  const { access } = app.core;
  const task = await pickTask(app, access.tasks.running());
  if (!task) return;
  const granted = access.all().filter((g) => g.endsWith?.kind === 'task' && g.endsWith.task === task.id).length;
  access.endTask(task.id);
  void vscode.window.showInformationMessage(
    `The task “${visible(task.name, 60)}” is over${granted === 0 ? '' : `, and with it ${granted === 1 ? 'one grant' : `${granted} grants`}`}.`,
  );
}

async function pickTask(app: App, running: readonly Task[]): Promise<Task | undefined> {
  if (running.length <= 1) return running[0];
  const picked = await askChoice(
    single('Culvert: End Task'),
    'Which task is over?',
    running.map((task) => ({
      label: withoutIcons(visible(task.name, 80)),
      description: `${remaining(task.endsAt - Date.now())} left`,
      value: task.id,
    })),
  );
  return picked.kind === 'value' ? app.core.access.tasks.get(picked.value) : undefined;
}
