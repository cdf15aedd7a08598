import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { UpstreamError } from '../common/errors.ts';
import type { Environment } from './stdioEnvironment.ts';

/** Program and arguments as the system gets them. */
export interface Program {
  readonly file: string;
  readonly args: readonly string[];
}

/** What {@link resolveProgram} asks of the file system. */
export interface ProgramFiles {
  /** Text of a file, `undefined` if there is none. */
  read(file: string): string | undefined;
  isFile(file: string): boolean;
}

/** The file system of this machine. */
export const systemFiles: ProgramFiles = {
  read: (file) => {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      return undefined;
    }
  },
  isFile: (file) => statSync(file, { throwIfNoEntry: false })?.isFile() ?? false,
};

/** What Windows can start without a shell. */
const EXECUTABLE = /\.(exe|com)$/i;
/** What only cmd.exe can run. It reads arguments by rules of its own, so nothing is safe in them. */
const BATCH = /\.(cmd|bat)$/i;
/** The line of a batch file that npm made (npm's cmd-shim): the script behind the interpreter, relative to the folder of the file. */
const NPM_SHIM = /"(?:%~dp0|%dp0%)\\?([^"%]+?\.[cm]?js)"\s+%\*/i;
/** The same in npm's and npx's own batch files. */
const NPM_OWN = /SET "?(?:NPM|NPX)_CLI_JS=%~dp0\\?([^"%\r\n]+?\.js)"?/i;

/**
 * The program of a command, found without a shell. On Windows most package runners are batch files: those that npm made only start a
 * script with Node, which is then started directly; any other is refused. Throws UpstreamError.
 */
export function resolveProgram(
  { file, args }: Program,
  environment: Environment,
  platform: NodeJS.Platform = process.platform,
  files: ProgramFiles = systemFiles,
): Program {
  // Everywhere else the system itself looks along the PATH and knows what it can start.
  if (platform !== 'win32') return { file, args };
  const found = findOnWindows(file, environment, files);
  if (found === undefined || EXECUTABLE.test(found)) return { file: found ?? file, args };
  if (!BATCH.test(found)) return { file: found, args };
  const text = files.read(found) ?? '';
  const script = (NPM_SHIM.exec(text) ?? NPM_OWN.exec(text))?.[1];
  if (script === undefined)
    throw new UpstreamError(
      'CULVERT_UPSTREAM_BATCH_FILE',
      'start',
      `${file} is a batch file, which only a shell can run, and Culvert starts no shell. Enter the program that it starts, with its arguments.`,
    );
  const folder = path.win32.dirname(found);
  const beside = path.win32.join(folder, 'node.exe');
  return { file: files.isFile(beside) ? beside : 'node.exe', args: [path.win32.join(folder, script), ...args] };
}

function findOnWindows(file: string, environment: Environment, files: ProgramFiles): string | undefined {
  const read = (wanted: string) => Object.entries(environment).find(([name]) => name.toUpperCase() === wanted)?.[1] ?? '';
  const endings = (read('PATHEXT') || '.COM;.EXE;.BAT;.CMD').split(';').filter((ending) => /^\.(com|exe|bat|cmd)$/i.test(ending));
  const names = /\.[^.\\/]+$/.test(file) ? [file, ...endings.map((e) => file + e)] : endings.map((ending) => file + ending);
  const folders = /[\\/]/.test(file)
    ? ['']
    : read('PATH')
        .split(';')
        .filter((folder) => folder !== '');
  for (const folder of folders)
    for (const name of names) {
      const candidate = folder === '' ? name : path.win32.join(folder, name);
      if (files.isFile(candidate)) return candidate;
    }
  return undefined;
}
