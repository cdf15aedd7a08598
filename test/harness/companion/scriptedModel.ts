import * as vscode from 'vscode';

/** What the model was asked in one request. */
export interface ScriptedRequest {
  readonly messages: number;
  readonly tools: readonly string[];
  readonly text: string;
}

/**
 * A chat model that follows the prompt instead of a network. A message with `CALL <pattern of a tool name> {"a": 1}` makes it call that
 * tool; when the tool's result comes back it answers `RESULT <text>`. Everything else is answered with `ECHO <end of the text>`.
 */
export class ScriptedModel implements vscode.LanguageModelChatProvider {
  /** Every request so far, oldest first. */
  readonly requests: ScriptedRequest[] = [];

  provideLanguageModelChatInformation(): vscode.LanguageModelChatInformation[] {
    const information = {
      id: 'scripted-1',
      name: 'Scripted 1',
      family: 'scripted',
      version: '1',
      maxInputTokens: 100_000,
      maxOutputTokens: 10_000,
      capabilities: { toolCalling: true, imageInput: false },
      // Not in the stable typings, but what makes the model appear in the picker and be the one that is used.
      isUserSelectable: true,
      isDefault: true,
    };
    return [information];
  }

  async provideLanguageModelChatResponse(
    _model: vscode.LanguageModelChatInformation,
    messages: readonly vscode.LanguageModelChatRequestMessage[],
    options: vscode.ProvideLanguageModelChatResponseOptions,
    progress: vscode.Progress<vscode.LanguageModelResponsePart>,
  ): Promise<void> {
    const tools = options.tools ?? [];
    const content = messages.at(-1)?.content ?? [];
    const text = textOf(content);
    this.requests.push({ messages: messages.length, tools: tools.map((tool) => tool.name), text });
    const say = (value: string) => progress.report(new vscode.LanguageModelTextPart(value));

    const result = content.find((part) => part instanceof vscode.LanguageModelToolResultPart);
    if (result) {
      say(`RESULT ${textOf(result.content)}`);
      return;
    }
    const call = /CALL (\S+) (\{.*\})/.exec(text);
    if (!call) {
      say(`ECHO ${text.slice(-60)}`);
      return;
    }
    const [, pattern = '', input = '{}'] = call;
    const tool = tools.find(({ name }) => new RegExp(pattern).test(name));
    if (!tool) {
      say(`NO TOOL ${pattern} among ${tools.length}`);
      return;
    }
    progress.report(new vscode.LanguageModelToolCallPart(`call-${this.requests.length}`, tool.name, JSON.parse(input) as object));
  }

  async provideTokenCount(): Promise<number> {
    return 1;
  }
}

/** The text of all parts that have some, whichever class of part they are. */
function textOf(parts: readonly unknown[]): string {
  return parts
    .map((part) => (typeof part === 'object' && part !== null && 'value' in part && typeof part.value === 'string' ? part.value : ''))
    .join('');
}
