import { spawn } from 'node:child_process';
import { homedir } from 'node:os';
import { codeOf } from '../../common/errors.ts';
import { CredentialError } from '../source.ts';

/** How long a program may take, milliseconds: it may ask the user for a fingerprint or a PIN. */
export const PROGRAM_TIMEOUT_MS = 45_000;
/** Largest output, bytes. */
export const MAX_OUTPUT_BYTES = 256 * 1024;

/** Variables as a process has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What programs need to find themselves, the user's files and words for people. */
const POSIX = new Set(['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'TERM', 'TZ', 'LANG', 'TMPDIR']);
/** Where password managers find their agent, the keyring, the screen to ask on, and their own settings. Places and names, no secrets. */
const SESSION =
  /^(XDG_[A-Z_]+|DBUS_SESSION_BUS_ADDRESS|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY|GNUPGHOME|GPG_TTY|SSH_AUTH_SOCK|GNOME_KEYRING_CONTROL|PASSWORD_STORE_(DIR|KEY)|AWS_(PROFILE|REGION|DEFAULT_REGION|CONFIG_FILE|SHARED_CREDENTIALS_FILE)|CLOUDSDK_(CONFIG|ACTIVE_CONFIG_NAME)|AZURE_CONFIG_DIR|GH_(HOST|CONFIG_DIR)|OP_(ACCOUNT|BIOMETRIC_UNLOCK_ENABLED)|VAULT_(ADDR|NAMESPACE|CACERT|CAPATH)|BAO_(ADDR|NAMESPACE)|(HTTPS?|NO)_PROXY|https?_proxy|no_proxy)$/;
const WINDOWS =
  /^(APPDATA|COMSPEC|HOMEDRIVE|HOMEPATH|LOCALAPPDATA|PATH|PATHEXT|PROCESSOR_ARCHITECTURE|PROGRAMDATA|PROGRAMFILES(\(X86\))?|PROGRAMW6432|SYSTEMDRIVE|SYSTEMROOT|TEMP|TMP|USERNAME|USERPROFILE|WINDIR)$/i;

/** The part of our own environment that a program for credentials gets. */
export function programEnvironment(from: Environment, platform: NodeJS.Platform = process.platform): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(from)) {
    // A function that bash exported is code.
    if (value === undefined || value.startsWith('()')) continue;
    if ((platform === 'win32' ? WINDOWS.test(name) : POSIX.has(name) || name.startsWith('LC_')) || SESSION.test(name)) kept[name] = value;
  }
  return kept;
}

/** A program to run. */
export interface ProgramRun {
  readonly command: string;
  readonly args: readonly string[];
  readonly folder?: string | undefined;
  readonly environment: Readonly<Record<string, string>>;
  readonly input?: string | undefined;
  /** How messages call it. */
  readonly who: string;
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
}

/**
 * Runs a program without a shell and gives what it printed. Its error output is read and thrown away: nobody knows what it quotes. Ends it,
 * with all that it started, when it takes too long, prints too much, or is not wanted any more. Throws {@link CredentialError} of the step
 * `command`.
 */
export function runProgram(run: ProgramRun): Promise<string> {
  const { command, args, folder, environment, input, who, signal, timeoutMs = PROGRAM_TIMEOUT_MS } = run;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(failed(who, 'was not started: the call was given up'));
      return;
    }
    const child = spawn(command, args, {
      cwd: folder ?? homedir(),
      env: { ...environment },
      stdio: ['pipe', 'pipe', 'pipe'],
      shell: false,
      detached: process.platform !== 'win32',
      windowsHide: true,
    });
    const parts: Buffer[] = [];
    let size = 0;
    let why: string | undefined;
    const kill = () => {
      try {
        if (process.platform === 'win32' || child.pid === undefined) child.kill('SIGKILL');
        else process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
    };
    const stop = (reason: string) => {
      why ??= reason;
      kill();
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const onAbort = () => stop('was ended: nobody waits for it any more');
    const timer = setTimeout(() => stop(`gave nothing within ${timeoutMs / 1000} seconds`), timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    // An editor that closes does not wait for timers.
    process.once('exit', kill);
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      process.off('exit', kill);
    };
    child.stdout.on('data', (part: Buffer) => {
      size += part.length;
      if (size > MAX_OUTPUT_BYTES) stop(`printed more than ${MAX_OUTPUT_BYTES / 1024} KiB`);
      else parts.push(part);
    });
    child.stderr.resume();
    child.stdin.on('error', () => undefined);
    child.stdin.end(input ?? '');
    child.once('error', (error) => {
      done();
      const code = codeOf(error);
      reject(
        failed(
          who,
          code === 'ENOENT'
            ? 'was not found on the PATH, or its folder is gone'
            : code === 'EACCES'
              ? 'may not be run'
              : 'could not be started',
        ),
      );
    });
    child.once('close', (code, killedBy) => {
      done();
      if (why !== undefined) reject(failed(who, why));
      else if (code !== 0) reject(failed(who, code === null ? `was ended by ${killedBy ?? 'a signal'}` : `ended with code ${code}`));
      else resolve(Buffer.concat(parts).toString('utf8'));
    });
  });
}

function failed(who: string, why: string): CredentialError {
  return new CredentialError(
    'CULVERT_CREDENTIAL_COMMAND',
    'command',
    `${who} ${why}. Run it in a terminal to see what it says: it may want you to sign in or to unlock something.`,
    { forAgent: `${who} ${why}. The user can look at it with “Culvert: Test Credential…”.` },
  );
}
