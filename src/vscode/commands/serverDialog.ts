import { MAX_LABEL_CHARACTERS, SshDestination, UpstreamPlace } from '../../mcp/server.ts';
import { parseCommandLine } from '../../upstream/commandLine.ts';
import type { App } from '../app.ts';
import { askChoice, askText, type Choice, type StepPlace, type StepResult } from '../steps.ts';
import { CREDENTIAL_STEPS, askCredentialStep, needsCredentialStep, type CredentialStep } from './credentialSteps.ts';
import { isCommand, type Draft, type Reach } from './serverDraft.ts';

/** Steps of the dialog, in order. */
export type Step = 'label' | 'reach' | 'ssh' | 'url' | 'command' | CredentialStep;

/** The steps that ask where the server is, in order. */
export const PLACE_STEPS: readonly Step[] = ['reach', 'ssh', 'url', 'command'];

/** Every step, in order. */
export const ALL_STEPS: readonly Step[] = ['label', ...PLACE_STEPS, ...CREDENTIAL_STEPS];

/** Leaves out steps that the answers so far don't need. */
function stepsFor(draft: Draft, all: readonly Step[]): Step[] {
  const command = isCommand(draft);
  return all.filter((step) => {
    if (step === 'label' || step === 'reach') return true;
    if (step === 'ssh') return draft.reach === 'ssh-command' || draft.reach === 'ssh-url';
    if (step === 'url') return !command;
    return step === 'command' ? command : needsCredentialStep(draft, step);
  });
}

const REACH: readonly Choice<Reach>[] = [
  { label: '$(globe) At a URL', description: 'Streamable HTTP, or the older HTTP+SSE', value: 'url' },
  { label: '$(terminal) By a command', description: 'Culvert starts it on this machine, as most local servers want it', value: 'command' },
  { label: '$(remote) By a command on another machine', description: 'over SSH, with your own SSH configuration', value: 'ssh-command' },
  {
    label: '$(remote-explorer) At a URL that only another machine sees',
    description: 'over SSH, such as http://127.0.0.1:3000/mcp there',
    value: 'ssh-url',
  },
];

/** Runs the steps `all` over a draft, starting at `from`; resolves to false if the user gave up. */
export async function runSteps(
  app: App,
  title: string,
  draft: Draft,
  all: readonly Step[],
  from: Step,
  labelTaken: (label: string) => boolean,
): Promise<boolean> {
  let at: Step = from;
  for (;;) {
    const steps = stepsFor(draft, all);
    const index = Math.max(0, steps.indexOf(at));
    const current = steps[index] ?? 'label';
    const place: StepPlace = { title, step: index + 1, totalSteps: steps.length, canGoBack: index > 0 };
    const result = await askStep(app, current, place, draft, labelTaken);
    if (result.kind === 'cancel') return false;
    const next = stepsFor(draft, all);
    const here = next.indexOf(current);
    const to = result.kind === 'back' ? next[here - 1] : next[here + 1];
    if (to === undefined) return true;
    at = to;
  }
}

async function askStep(
  app: App,
  step: Step,
  place: StepPlace,
  draft: Draft,
  labelTaken: (label: string) => boolean,
): Promise<StepResult<unknown>> {
  switch (step) {
    case 'label': {
      const result = await askText(place, {
        prompt: 'A name for the server. Agents see it too.',
        placeholder: 'GitHub',
        value: draft.label ?? '',
        validate: (value) => refuseLabel(value, labelTaken),
      });
      if (result.kind === 'value') draft.label = result.value.trim();
      return result;
    }
    case 'reach': {
      const result = await askChoice(place, 'How is the server reached?', REACH, draft.reach ?? 'url');
      if (result.kind === 'value') {
        if (draft.reach !== result.value) {
          delete draft.authentication;
          delete draft.detail;
          delete draft.elsewhere;
        }
        draft.reach = result.value;
      }
      return result;
    }
    case 'ssh': {
      const result = await askText(place, {
        prompt:
          'The machine, as you would give it to ssh. Its key must be known, and your SSH agent or key must open it without a question.',
        placeholder: 'me@devbox',
        value: draft.ssh ?? '',
        validate: (value) => firstIssue(SshDestination.safeParse(value.trim()), 'Enter a host or an alias of your SSH configuration.'),
      });
      if (result.kind === 'value') draft.ssh = result.value.trim();
      return result;
    }
    case 'url': {
      const far = draft.reach === 'ssh-url';
      const result = await askText(place, {
        prompt: far ? `The URL of the MCP server, as ${draft.ssh ?? 'that machine'} sees it.` : 'The URL of the MCP server.',
        placeholder: far ? 'http://127.0.0.1:3000/mcp' : 'https://api.example.com/mcp',
        value: draft.url ?? '',
        validate: refuseUrl,
      });
      if (result.kind === 'value' && draft.url !== result.value.trim()) {
        draft.url = result.value.trim();
        delete draft.transport;
      }
      return result;
    }
    case 'command': {
      const result = await askText(place, {
        prompt: `The command that starts the server${draft.reach === 'ssh-command' ? ` on ${draft.ssh ?? 'that machine'}` : ''}. No secret in it: that is asked for in a moment. NAME=value in front sets a variable.`,
        placeholder: 'npx -y @modelcontextprotocol/server-filesystem /home/me/notes',
        value: draft.commandLine ?? '',
        validate: refuseCommand,
      });
      if (result.kind === 'value') draft.commandLine = result.value.trim();
      return result;
    }
    default:
      return askCredentialStep(app, step, place, draft);
  }
}

/** Why a label can't be used; `undefined` if it can. */
export function refuseLabel(value: string, taken: (label: string) => boolean): string | undefined {
  const label = value.trim();
  if (label === '') return 'Enter a name.';
  if (label.length > MAX_LABEL_CHARACTERS) return `At most ${MAX_LABEL_CHARACTERS} characters.`;
  if (/[\p{Cc}\p{Cf}]/u.test(label)) return 'The name holds invisible characters.';
  return taken(label) ? 'Another server has this name.' : undefined;
}

/** Why a URL can't be used; `undefined` if it can. */
function refuseUrl(value: string): string | undefined {
  const text = value.trim();
  if (text === '' || !URL.canParse(text)) return 'Enter a whole URL, such as https://api.example.com/mcp.';
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'The URL must begin with https:// or http://.';
  if (url.username !== '' || url.password !== '') return 'Leave user name and password out of the URL; the next step asks for them.';
  if (url.hash !== '') return 'Leave out everything from the # on.';
  const loopback = url.hostname === 'localhost' || url.hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(url.hostname);
  if (url.protocol === 'http:' && !loopback)
    return 'Use https://. Plain http:// would show the credential to the network; it is only for this machine.';
  return undefined;
}

/** Why a command can't be used; `undefined` if it can. */
function refuseCommand(value: string): string | undefined {
  const line = parseCommandLine(value);
  if (typeof line === 'string') return line;
  if (/[\p{Cc}\p{Cf}]/u.test(value)) return 'The command holds invisible characters.';
  return firstIssue(UpstreamPlace.safeParse({ kind: 'stdio', ...line }), 'This can’t be started as a command.');
}

function firstIssue(
  result:
    { readonly success: true } | { readonly success: false; readonly error: { readonly issues: readonly { readonly message: string }[] } },
  otherwise: string,
): string | undefined {
  return result.success ? undefined : (result.error.issues[0]?.message ?? otherwise);
}
