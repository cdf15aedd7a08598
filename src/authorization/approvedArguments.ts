import { toolKey, type ApprovalRequest } from './approvalRequest.ts';
import { diffArguments, type ArgumentChange } from './argumentsDiff.ts';
import type { Call } from './decide.ts';

/** Calls whose arguments are kept for comparison, and the longest of them, characters. */
const MAX_APPROVED = 500;
const MAX_APPROVED_CHARACTERS = 64 * 1024;

/** Arguments of the last call of each tool that the user approved, so that the next question shows what differs. In memory only. */
export class ApprovedArguments {
  /** By server and tool. */
  readonly #last = new Map<string, string>();

  /** What differs from the last approved call; `undefined` if there is none. */
  changes(call: Call, argumentsText: string): readonly ArgumentChange[] | undefined {
    const before = this.#last.get(toolKey(call));
    return before === undefined ? undefined : diffArguments(before, argumentsText);
  }

  /** Notes a call that the user approved. */
  note({ call, argumentsText }: Pick<ApprovalRequest, 'call' | 'argumentsText'>): void {
    if (argumentsText === undefined || argumentsText.length > MAX_APPROVED_CHARACTERS) return;
    const key = toolKey(call);
    this.#last.delete(key);
    if (this.#last.size >= MAX_APPROVED) {
      const [oldest] = this.#last.keys();
      if (oldest !== undefined) this.#last.delete(oldest);
    }
    this.#last.set(key, argumentsText);
  }
}
