import { visible } from '../../common/text.ts';
import { PlainHeaders, refusePlainHeader, type Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { askChoice, askText, single, withoutIcons } from '../steps.ts';

/** Characters of a value that are shown in a row. */
const SHOWN_CHARACTERS = 80;

/** Shows the plain headers of a server, and lets the user add, change and remove them. */
export async function editHeaders(app: App, server: Server, title: string): Promise<void> {
  if (server.upstream.kind === 'stdio') return;
  const headers: PlainHeaders = { ...server.upstream.headers };
  const chosen = await askChoice(
    single(`${title}: ${server.label}`),
    'Which header? They are sent with every request and hold no secret.',
    [
      ...Object.entries(headers).map(([name, value]) => ({
        label: `$(edit) ${withoutIcons(name)}`,
        description: withoutIcons(visible(value, SHOWN_CHARACTERS)),
        value: name,
      })),
      { label: '$(add) Another header', description: 'such as X-MCP-Toolsets: repos', value: '' },
    ],
  );
  if (chosen.kind !== 'value') return;
  const old = chosen.value;
  const typed = await askText(single(title), {
    prompt: old === '' ? 'Name and value.' : 'Name and value. Leave it empty to remove the header.',
    placeholder: 'X-MCP-Toolsets: repos',
    value: old === '' ? '' : `${old}: ${headers[old] ?? ''}`,
    validate: (text) => (text.trim() === '' && old !== '' ? undefined : refuseHeader(text)),
  });
  if (typed.kind !== 'value') return;
  const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => name !== old));
  const [name, value] = split(typed.value);
  const next = name === '' ? kept : { ...kept, [name]: value };
  const parsed = PlainHeaders.safeParse(next);
  if (!parsed.success) throw new Error(parsed.error.issues[0]?.message ?? 'These headers can’t be used.');
  const upstream = { ...server.upstream, headers: parsed.data };
  if (Object.keys(parsed.data).length === 0) Reflect.deleteProperty(upstream, 'headers');
  app.core.servers.put({ ...server, upstream });
  app.core.act({ act: 'server-edited', server: server.id, subject: server.label, detail: `header ${name === '' ? old : name}` });
}

function split(text: string): readonly [name: string, value: string] {
  const colon = text.indexOf(':');
  return colon < 0 ? [text.trim(), ''] : [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}

function refuseHeader(text: string): string | undefined {
  const [name, value] = split(text);
  if (name === '' || !text.includes(':')) return 'Enter a name, a colon and a value.';
  return refusePlainHeader(name) ?? PlainHeaders.safeParse({ [name]: value }).error?.issues[0]?.message;
}
