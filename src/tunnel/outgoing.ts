import type { Passing } from '../inspection/inspector.ts';
import type { Finding } from '../mcp/finding.ts';
import { clientLabel, principalKey } from '../mcp/principal.ts';
import { destinationOf } from '../mcp/server.ts';
import { denied, type Answer } from './answers.ts';
import type { Core } from './core.ts';
import { credentialOf, isForServer } from './knownValues.ts';
import { standInOf } from './handing.ts';
import type { Passage } from './passage.ts';
import { besideOf, isClean } from './recording.ts';
import type { StagesOptions } from './stages.ts';

/** Rule of a finding about a secret that leaves piece by piece. */
const IN_PARTS = 'secret-in-parts';

/** Where an exchange’s messages pass, for inspection. */
export function passingOf(x: Passage, core: Core): Passing {
  const { leaks } = core;
  const tool = toolOf(x);
  return {
    server: x.server.id,
    serverLabel: x.server.label,
    tool,
    workspace: x.principal.workspace,
    schema: tool === undefined ? undefined : leaks.schemas.of(x.server.id, tool),
    standIn: standInOf(x, core, tool),
  };
}

/** The tool that an exchange calls, or whose task it is about. */
export function toolOf({ message, tasks }: Passage): string | undefined {
  return message?.method === 'tools/call' ? (message.name ?? '') : tasks[0]?.tool;
}

/** Looks at a large request before anybody has to wait for it in one go; `undefined` if there is nothing to wait for. */
export function lookAhead(x: Passage, core: Core): Promise<void> | undefined {
  if (x.clean !== undefined || !core.leaks.secrets.goesAside(x.body.length)) return undefined;
  return core.inspector.isCleanSoon(x.body, besideOf(x)).then((clean) => {
    x.clean = clean;
  });
}

/** Stage 5: a secret that belongs elsewhere stops the call; what looks like one, and what leaves piece by piece, is asked about. */
export function checkOutgoing(x: Passage, options: StagesOptions): Promise<Answer | undefined> | undefined {
  const { core } = options;
  const own = x.server.credentials;
  const foreign = (id: string) => !own.includes(credentialOf(id)) || !isForServer(id, core.credentials);
  const looking = lookAhead(x, core);
  if (!looking && isClean(x, core)) return mayHoldParts(x, core, foreign) ? checkParts(x, options, foreign) : undefined;
  return checkAll(x, options, foreign, looking);
}

async function checkAll(
  x: Passage,
  options: StagesOptions,
  foreign: (id: string) => boolean,
  looking: Promise<void> | undefined,
): Promise<Answer | undefined> {
  const { core } = options;
  await looking;
  return (
    (isClean(x, core) ? undefined : await checkValues(x, options, foreign)) ??
    (mayHoldParts(x, core, foreign) ? await checkParts(x, options, foreign) : undefined)
  );
}

/** Whether there are secrets at all of which a request could take parts along. */
function mayHoldParts({ message }: Passage, core: Core, foreign: (id: string) => boolean): boolean {
  return message !== undefined && message.kind !== 'notification' && core.leaks.fragments.countsAny(foreign);
}

async function checkValues(x: Passage, options: StagesOptions, foreign: (id: string) => boolean): Promise<Answer | undefined> {
  const { core } = options;
  const where = passingOf(x, core);
  const { inspector } = core;
  const found = await (core.leaks.secrets.goesAside(x.body.length)
    ? inspector.outgoingSoon(x.body, besideOf(x), foreign, where)
    : inspector.outgoing(x.body, besideOf(x), foreign, where));
  x.findings.push(...found.reported);
  if (found.foreign.length > 0) {
    x.findings.push(...found.foreign);
    return denied(x, explainForeign(found.foreign));
  }
  if (found.doubtful.length === 0) return undefined;
  const place = { server: x.server.id, tool: toolOf(x) };
  const decided = (verdict: 'may-leave' | 'must-stay' | undefined) =>
    found.doubtful.filter(({ rule }) => core.leaks.decisions.outgoing(rule, place) === verdict);
  const stays = decided('must-stay');
  if (stays.length > 0) {
    x.findings.push(...stays);
    return denied(
      x,
      `The call holds ${namesOf(stays)}. The user decided that this never goes to this tool. It was stopped on this machine. Leave it out.`,
    );
  }
  x.findings.push(...allowed(decided('may-leave')));
  const open = decided(undefined);
  return open.length === 0 ? undefined : ask(x, options, open, true);
}

/** Fragments, added up over what one agent sends to one server. */
async function checkParts(x: Passage, options: StagesOptions, foreign: (id: string) => boolean): Promise<Answer | undefined> {
  const { message } = x;
  if (!message) return undefined;
  const { core } = options;
  const session = `${principalKey(x.principal)}\u0000${x.server.id}`;
  const span = message.arguments;
  const text = span ? x.body.subarray(span.start, span.end) : x.body;
  const ids = await core.leaks.fragments.add(session, toolOf(x) ?? message.method ?? '', text, foreign);
  if (ids.length === 0) return undefined;
  const findings = ids.map((id): Finding => ({
    rule: IN_PARTS,
    severity: 'high',
    subject: core.leaks.nameOf(id),
    direction: 'to-server',
    form: 'piece by piece',
    action: 'blocked',
    tier: 'known',
  }));
  const answer = await ask(x, options, findings, false);
  if (!answer) for (const id of ids) core.leaks.fragments.forget(session, id);
  return answer;
}

async function ask(x: Passage, options: StagesOptions, findings: readonly Finding[], lasting: boolean): Promise<Answer | undefined> {
  const { leaks } = options.core;
  const place = { server: x.server.id, tool: toolOf(x) };
  const answer = await leaks.questions.ask(
    {
      ...place,
      serverLabel: x.server.label,
      destination: destinationOf(x.server),
      client: clientLabel(x.principal, x.claims.clientName),
      findings,
      lasting,
    },
    options.approvalTimeoutMs(),
    x.gone,
  );
  if (lasting && (answer === 'always' || answer === 'never'))
    for (const rule of new Set(findings.map((f) => f.rule)))
      leaks.decisions.setOutgoing(rule, place, answer === 'always' ? 'may-leave' : 'must-stay');
  if (answer === 'once' || answer === 'always') {
    x.findings.push(...allowed(findings));
    return undefined;
  }
  x.findings.push(...findings);
  const what =
    findings[0]?.rule === IN_PARTS ? `the credential ${namesOf(findings)}, piece by piece over several calls` : namesOf(findings);
  const why =
    answer === 'unanswered'
      ? 'The user was asked and did not answer in time; tell the user, then try again.'
      : 'The user did not allow it. Leave it out; Culvert adds credentials itself.';
  return denied(x, `The call holds ${what}. It was stopped on this machine. ${why}`);
}

function allowed(findings: readonly Finding[]): Finding[] {
  return findings.map((finding) => ({ ...finding, action: 'allowed' }));
}

function explainForeign(findings: readonly Finding[]): string {
  const own = findings.filter(({ tier }) => tier === 'known');
  const others = findings.filter(({ tier }) => tier !== 'known');
  const parts = [
    own.length > 0 ? `the value of the credential ${namesOf(own)}, which belongs elsewhere` : '',
    others.length > 0 ? namesOf(others) : '',
  ].filter((part) => part !== '');
  return `The call holds ${parts.join(', and ')}. It was stopped on this machine. Leave the value out; Culvert adds credentials itself.`;
}

/** What was found, by name: “token”, or what a rule calls it, with its place. */
function namesOf(findings: readonly Finding[]): string {
  return [
    ...new Set(
      findings.map(({ subject, tier, path }) =>
        tier === 'known'
          ? `“${subject}”`
          : tier === 'canary'
            ? 'a secret that belongs elsewhere'
            : `what looks like ${subject}${path === undefined ? '' : ` (${path})`}`,
      ),
    ),
  ].join(', ');
}
