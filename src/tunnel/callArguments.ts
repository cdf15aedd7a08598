import { hash } from 'node:crypto';
import { CallArguments } from '../authorization/arguments.ts';
import type { Message } from '../mcp/message.ts';

/**
 * What conditions see of a message: the arguments of a tool from the very bytes that go out; of a resource its `uri`; of a prompt its `name`
 * and `arguments`. Lists have none. Of other methods nobody knows what their arguments are.
 */
export function argumentsOf(message: Message): CallArguments | undefined {
  const { method, bytes } = message;
  if (method === 'tools/call') return new CallArguments(bytes, message.arguments);
  const text = textOfArguments(message);
  if (text !== undefined) return CallArguments.fromText(text);
  return method === 'resources/list' || method === 'resources/templates/list' || method === 'prompts/list'
    ? new CallArguments(bytes, undefined)
    : undefined;
}

/** The same as a JSON text, as it is shown and recorded; `undefined` if there are none. */
export function textOfArguments({ method, name, bytes, arguments: span }: Message): string | undefined {
  const given = span && bytes.toString('utf8', span.start, span.end);
  if (name === undefined || method === 'tools/call') return given;
  if (method?.startsWith('resources/') === true) return JSON.stringify({ uri: name });
  return method === 'prompts/get' ? `{"name":${JSON.stringify(name)}${given === undefined ? '' : `,"arguments":${given}`}}` : given;
}

/** SHA-256 of exactly what the user is shown of the arguments; of the whole message where nobody knows which part that is. */
export function digestOfArguments(message: Message): string {
  if (message.method === 'tools/call')
    return hash('sha256', message.arguments ? message.bytes.subarray(message.arguments.start, message.arguments.end) : '');
  return hash('sha256', textOfArguments(message) ?? message.bytes);
}
