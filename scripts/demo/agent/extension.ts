/**
 * A stand-in for an agent in `npm start`: the command "Demo Agent: Call a Tool..." starts the MCP servers, lets the user choose one of their
 * tools, and calls it through VS Code's own MCP client. So Culvert can be tried where there is no chat model.
 */
import * as vscode from 'vscode';

/** Arguments offered for tools of the demo server; others start with none. */
const EXAMPLES: Readonly<Record<string, object>> = { echo: { message: 'hello' }, 'get-sum': { a: 2, b: 3 } };

/** Called by VS Code. */
export function activate(context: vscode.ExtensionContext): void {
  const output = vscode.window.createOutputChannel('Demo Agent');
  context.subscriptions.push(
    output,
    vscode.commands.registerCommand('demoAgent.callTool', async () => callTool(output)),
  );
}

async function callTool(output: vscode.OutputChannel): Promise<void> {
  await vscode.commands.executeCommand('workbench.mcp.startServer', '*', { waitForLiveTools: true, autoTrustChanges: true });
  const tools = vscode.lm.tools.filter(({ name }) => name.startsWith('mcp_'));
  const chosen = await vscode.window.showQuickPick(
    tools.map(({ name, description }) => ({ label: name, detail: description })),
    {
      title: 'Demo Agent: Call a Tool',
      placeHolder: tools.length ? 'A tool that agents are offered' : 'No MCP server offers a tool to agents',
    },
  );
  if (!chosen) return;
  const example = Object.entries(EXAMPLES).find(([name]) => chosen.label.endsWith(`_${name}`))?.[1] ?? {};
  const text = await vscode.window.showInputBox({
    title: chosen.label,
    prompt: 'Arguments as JSON',
    value: JSON.stringify(example),
    validateInput: complaint,
  });
  if (text === undefined) return;
  output.show(true);
  output.appendLine(`> ${chosen.label} ${text}`);
  try {
    const result = await vscode.lm.invokeTool(chosen.label, { input: JSON.parse(text) as object, toolInvocationToken: undefined });
    for (const part of result.content) output.appendLine(part instanceof vscode.LanguageModelTextPart ? part.value : JSON.stringify(part));
  } catch (error) {
    output.appendLine(`! ${error instanceof Error ? error.message : String(error)}`);
  }
}

function complaint(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? undefined : 'Not a JSON object';
  } catch {
    return 'Not JSON';
  }
}
