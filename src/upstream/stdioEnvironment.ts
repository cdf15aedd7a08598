/** Variables as a process has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What every process needs to find programs, the user's files and the words for people; no more, since a variable may hold a secret. */
const POSIX = new Set(['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'TERM', 'TZ', 'LANG', 'TMPDIR']);
/** The same for Windows, where names have no case; as the MCP SDKs have it. */
const WINDOWS = new Set([
  'APPDATA',
  'COMSPEC',
  'HOMEDRIVE',
  'HOMEPATH',
  'LOCALAPPDATA',
  'PATH',
  'PATHEXT',
  'PROCESSOR_ARCHITECTURE',
  'PROGRAMDATA',
  'PROGRAMFILES',
  'PROGRAMFILES(X86)',
  'PROGRAMW6432',
  'SYSTEMDRIVE',
  'SYSTEMROOT',
  'TEMP',
  'TMP',
  'USERNAME',
  'USERPROFILE',
  'WINDIR',
]);

/** The part of our own environment that the command of a server gets. */
export function minimalEnvironment(from: Environment, platform: NodeJS.Platform): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(from)) {
    if (value === undefined) continue;
    const wanted = platform === 'win32' ? WINDOWS.has(name.toUpperCase()) : POSIX.has(name) || name.startsWith('LC_');
    // A function that bash exported is code.
    if (wanted && !value.startsWith('()')) kept[name] = value;
  }
  return kept;
}

/**
 * The environment for `ssh` itself, which is the user's own program with the user's own configuration: everything but what belongs to the
 * editor's processes.
 */
export function sshEnvironment(from: Environment): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(from))
    if (value !== undefined && !/^(ELECTRON_|VSCODE_|NODE_OPTIONS$)/i.test(name)) kept[name] = value;
  return kept;
}
