import { visible } from '../../common/text.ts';
import type { Finding } from '../../mcp/finding.ts';
import type { StoredFinding } from '../../inspection/findingLog.ts';
import type { LeakDecision } from '../../inspection/leakDecisions.ts';

/** Rule of findings that say that a sealed value should be replaced at its provider; `path` has the provider's page, if it is known. */
export const ROTATE_RULE = 'rotate';

/** What the rules say of themselves, once they are loaded. */
export interface RuleNote {
  readonly title: string;
  readonly docs: string;
}

const LONGEST_NAME = 60;

/** Severities, worst first, as they head the groups. */
export const SEVERITIES = [
  { severity: 'high', label: 'High' },
  { severity: 'medium', label: 'Medium' },
  { severity: 'low', label: 'Low' },
] as const;

/** What happened, short: the row says elsewhere where. */
export function titleOf(finding: StoredFinding): string {
  const subject = visible(finding.subject, LONGEST_NAME);
  const toAgent = finding.direction === 'to-agent';
  switch (finding.rule) {
    case 'tool-changed':
      return `${subject} was redefined`;
    case ROTATE_RULE:
      return `Replace “${subject}” at its provider`;
    case 'hidden-text':
      return toAgent ? 'Hidden characters in an answer' : 'Hidden characters in a call';
    case 'not-fully-scanned':
      return toAgent ? 'An answer was too large to scan whole' : 'A call was too large to scan whole';
    case 'canary':
      return toAgent ? `Canary “${subject}” in an answer` : `Canary “${subject}” in a call`;
    case 'secret-in-parts':
      return `“${subject}” sent piece by piece`;
    default:
      return toAgent ? `“${subject}” in an answer` : `“${subject}” in a call`;
  }
}

const ACTION_WORDS: Readonly<Record<StoredFinding['action'], string>> = {
  redacted: 'redacted',
  blocked: 'blocked',
  reported: 'passed',
  stripped: 'stripped',
  allowed: 'allowed',
};

/** What was done, in a word; of what is no passing content, nothing. */
export function actionWord(finding: StoredFinding): string | undefined {
  if (finding.rule === ROTATE_RULE || finding.rule === 'tool-changed') return undefined;
  return ACTION_WORDS[finding.action];
}

/** Where it was seen: tool, or server where there is no tool or the row stands for the tool itself. */
export function placeOf(finding: StoredFinding, server: string): string {
  return finding.tool === undefined || finding.rule === 'tool-changed' ? server : visible(finding.tool, LONGEST_NAME);
}

/** What a finding means and what can be done about it: sentences for a tooltip or a dialog, without the value. */
export function explainFinding(finding: Finding, server: string, rule?: RuleNote): readonly string[] {
  const subject = visible(finding.subject, 80);
  const form = finding.form === '' || finding.form === 'as is' ? '' : `, written in ${finding.form}`;
  const where = finding.path === undefined || finding.path === '' ? '' : ` It stood at ${visible(finding.path, 120)} of the message.`;
  const toAgent = finding.direction === 'to-agent';
  switch (finding.rule) {
    case 'tool-changed':
      return [
        `${server} now describes the tool “${subject}” in other words than when you first saw it.`,
        'Look at what it does before you go on allowing it: a changed description can make an agent do something else.',
      ];
    case ROTATE_RULE:
      return [
        `The value of “${subject}” that you sealed stands ${visible(finding.form, 120)}, so others may have it.`,
        'Make a new one at the provider, revoke the old one there, and enter the new one with Rotate Credential…. Dismiss this when it is done.',
      ];
    case 'hidden-text':
      return [
        toAgent
          ? `${server} sent characters that nobody sees (${subject}${form}). A model reads them all the same, so they are used to slip orders to it.`
          : `An agent sent characters that nobody sees (${subject}${form}) to ${server}.`,
        `${finding.action === 'stripped' ? 'Culvert took them out.' : finding.action === 'blocked' ? 'The message was stopped.' : 'They passed, as your settings say.'}${where}`,
      ];
    case 'not-fully-scanned':
      return [
        `A message ${toAgent ? `of ${server}` : `to ${server}`} was larger or slower to read than Culvert allows itself, so a part of it was not looked at.`,
        `What was looked at is clean or was cleaned.${where}`,
      ];
    case 'canary':
      return [
        `The canary “${subject}” that you planted turned up ${toAgent ? `in what ${server} sent` : `in a call to ${server}`}${form}. Nothing honest uses it, so somebody read the place where you planted it.`,
        `${doneWords(finding, toAgent)}${where}`,
        'Look at the record for the way it took, and at who could read that place.',
      ];
    case 'secret-in-parts':
      return [
        `An agent sent the value of “${subject}” to ${server} in pieces, over several calls. Together they would have told it.`,
        `${doneWords(finding, toAgent)}${where}`,
      ];
  }
  if (finding.tier === 'known' || finding.tier === undefined)
    return toAgent
      ? [
          `${server} sent the value of the credential “${subject}” back${form}. ${doneWords(finding, true)}${where}`,
          'Think about replacing the credential: the server shows it to whoever asks.',
        ]
      : [
          `An agent tried to send the value of the credential “${subject}” to ${server}${form}, where it does not belong. ${doneWords(finding, false)}${where}`,
          'Look at where the agent had it from: Culvert never gave it to it.',
        ];
  const what = rule ? `This looks like ${rule.title}` : `This looks like a secret (${subject})`;
  return [
    `${what}${form}, in ${toAgent ? `what ${server} sent` : `a call to ${server}`}. ${doneWords(finding, toAgent)}${where}`,
    finding.tier === 'generic'
      ? 'It is a guess by its name and its randomness; guesses are told, never taken out.'
      : 'If it is real, replace it at its provider: it was where it should not be. If it is none, say “Not a Secret”.',
  ];
}

function doneWords({ action }: Finding, toAgent: boolean): string {
  switch (action) {
    case 'redacted':
      return 'Culvert took it out before the agent saw it.';
    case 'blocked':
      return toAgent ? 'The message was held back.' : 'The call was stopped on this machine.';
    case 'allowed':
      return 'You let it pass.';
    default:
      return 'It passed, as your settings say.';
  }
}

/** A decision about leaks in words, for a list of what can be taken back. `serverName` gives the label of a server's id. */
export function describeDecision(
  decision: LeakDecision,
  serverName: (id: string) => string,
): { readonly label: string; readonly detail: string } {
  const at = (server: string, tool: string | undefined) =>
    tool === undefined ? serverName(server) : `${visible(tool, LONGEST_NAME)} of ${serverName(server)}`;
  if (decision.verdict !== 'not-a-secret')
    return {
      label: `${decision.rule} ${decision.verdict === 'may-leave' ? 'may go' : 'never goes'} to ${at(decision.server, decision.tool)}`,
      detail: decision.verdict === 'may-leave' ? 'Sent without a question.' : 'Stopped without a question.',
    };
  const { scope } = decision;
  const reach =
    scope.kind === 'rule'
      ? 'everywhere'
      : scope.kind === 'tool'
        ? `at ${at(scope.server, scope.tool)}`
        : `in the workspace ${visible(scope.workspaceName ?? scope.workspace, LONGEST_NAME)}`;
  return { label: `One value found by ${decision.rule} is not a secret`, detail: `Passes ${reach}.` };
}
