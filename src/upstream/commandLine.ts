/** A command as a person types it: variables, program, arguments. */
export interface CommandLine {
  readonly environment: Readonly<Record<string, string>>;
  readonly command: string;
  readonly args: readonly string[];
}

/** What a shell would act on. We start no shell, so each of these would silently mean something else than the user thinks. */
const SHELL_OPERATOR = /^(\|\|?|&&?|;|\d?>>?(&\d)?|<)$/;

/**
 * Reads a command line as POSIX shells split words (XCU 2.2): quotes and backslashes work, `NAME=value` in front sets a variable, nothing
 * is expanded. Returns a sentence instead where a shell would have done more than that.
 */
export function parseCommandLine(text: string): CommandLine | string {
  const words = splitWords(text);
  if (typeof words === 'string') return words;
  const environment: Record<string, string> = {};
  let at = 0;
  for (; at < words.length; at++) {
    const assignment = /^([A-Za-z_][A-Za-z0-9_]*)=/.exec(words[at]?.raw ?? '');
    if (assignment?.[1] === undefined) break;
    environment[assignment[1]] = (words[at]?.text ?? '').slice(assignment[0].length);
  }
  const [command, ...args] = words.slice(at).map((word) => word.text);
  if (command === undefined || command === '') return 'Enter the command that starts the server, such as npx -y @example/server.';
  if (words.some(({ raw }) => SHELL_OPERATOR.test(raw) || /[^\\];$/.test(raw)))
    return 'Culvert starts the command without a shell, so it can’t join commands or redirect. Put them into a script and enter that.';
  return { environment, command, args };
}

/** The same command as text that {@link parseCommandLine} reads back exactly. */
export function formatCommandLine({
  environment = {},
  command,
  args,
}: Omit<CommandLine, 'environment'> & { readonly environment?: CommandLine['environment'] | undefined }): string {
  return [...Object.entries(environment).map(([name, value]) => `${name}=${quoted(value)}`), quoted(command), ...args.map(quoted)].join(
    ' ',
  );
}

function quoted(text: string): string {
  return /^[\w@%+=:,./^-]+$/.test(text) && !/^[A-Za-z_]\w*=/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

interface Word {
  readonly text: string;
  /** As it was typed, with its quotes. */
  readonly raw: string;
}

function splitWords(line: string): Word[] | string {
  const words: Word[] = [];
  let i = 0;
  while (i < line.length) {
    if (/\s/.test(line[i] ?? '')) {
      i++;
      continue;
    }
    const from = i;
    let text = '';
    while (i < line.length && !/\s/.test(line[i] ?? '')) {
      const c = line[i] ?? '';
      if (c === "'") {
        const end = line.indexOf("'", i + 1);
        if (end < 0) return 'A quote is not closed.';
        text += line.slice(i + 1, end);
        i = end + 1;
      } else if (c === '"') {
        i++;
        while (line[i] !== '"') {
          if (i >= line.length) return 'A quote is not closed.';
          if (line[i] === '\\' && /["\\$`]/.test(line[i + 1] ?? '')) i++;
          else if (line[i] === '$' || line[i] === '`') return expansion(line[i] ?? '');
          text += line[i++] ?? '';
        }
        i++;
      } else if (c === '\\') {
        if (i + 1 >= line.length) return 'The line ends in a backslash.';
        text += line[i + 1] ?? '';
        i += 2;
      } else if (c === '$' || c === '`') return expansion(c);
      else {
        text += c;
        i++;
      }
    }
    words.push({ text, raw: line.slice(from, i) });
  }
  return words;
}

function expansion(sign: string): string {
  return `Culvert starts the command without a shell, so ${sign} is not replaced by anything. Put it into single quotes if you mean the character itself; enter a secret in the step that asks for it.`;
}
