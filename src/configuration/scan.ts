import { findCredentials, type CredentialRules, type FoundCredential } from './credentials.ts';
import { MAX_FILE_BYTES, decodeText, isProblem, type FileProblem } from './document.ts';
import { dotenvVariables, findDotenvSecrets, parseDotenv, type DotenvSecret } from './dotenv.ts';
import { bridgedServer, readEntries, readInputs, type Entry } from './entry.ts';
import { fileName, openFile, type ConfigurationFiles, type OpenedFile } from './files.ts';
import { pathsOf, type Location } from './locate.ts';
import type { PlaceContext } from './place.ts';
import { findReferences } from './references.ts';

/** Variables of the file that an entry names as its `envFile`. */
export interface FoundEnvironmentFile {
  /** Absolute. */
  readonly path: string;
  readonly secrets: readonly DotenvSecret[];
  /** The others. */
  readonly variables: Readonly<Record<string, string>>;
}

/** A server that was found, with everything an import needs to know. Holds plaintext: never log one. */
export interface FoundServer {
  readonly file: OpenedFile;
  readonly entry: Entry;
  readonly credentials: readonly FoundCredential[];
  readonly environmentFile?: FoundEnvironmentFile;
  /** Id of the Culvert server if the entry starts the bridge already. */
  readonly bridged?: string;
}

/** What a look at this machine gave. */
export interface ScanResult {
  readonly servers: readonly FoundServer[];
  /** Files that exist and were not understood. */
  readonly problems: readonly { readonly location: Location; readonly problem: FileProblem }[];
}

/** How a location's references are resolved: the folder it belongs to, the environment. */
export type ContextOf = (location: Location) => PlaceContext;

/** Reads every location and finds its servers and their credentials. A file that is missing by now is passed over. */
export async function scan(
  files: ConfigurationFiles,
  locations: readonly Location[],
  contextOf: ContextOf,
  rules: CredentialRules = {},
): Promise<ScanResult> {
  const servers: FoundServer[] = [];
  const problems: { location: Location; problem: FileProblem }[] = [];
  for (const location of locations) {
    const file = await openFile(files, location);
    if (isProblem(file)) {
      if (file.code !== 'missing') problems.push({ location, problem: file });
      continue;
    }
    servers.push(...(await serversOf(files, file, contextOf(location), rules)));
  }
  return { servers, problems };
}

/** The servers of one opened file. */
export async function serversOf(
  files: ConfigurationFiles,
  file: OpenedFile,
  context: PlaceContext,
  rules: CredentialRules = {},
): Promise<FoundServer[]> {
  const inputs = readInputs(file.document, file.location);
  const found: FoundServer[] = [];
  for (const entry of readEntries(file.document, file.location, fileName(file.location.path))) {
    const bridged = bridgedServer(entry);
    const environmentFile = await environmentFileOf(files, entry, context, rules);
    found.push({
      file,
      entry,
      credentials: findCredentials(entry, { ...rules, inputs }),
      ...(environmentFile ? { environmentFile } : {}),
      ...(bridged === undefined ? {} : { bridged }),
    });
  }
  return found;
}

async function environmentFileOf(
  files: ConfigurationFiles,
  entry: Entry,
  context: PlaceContext,
  rules: CredentialRules,
): Promise<FoundEnvironmentFile | undefined> {
  const path = environmentFilePath(entry, context);
  if (path === undefined) return undefined;
  try {
    const facts = await files.facts(path);
    if (!facts?.isFile || facts.size > MAX_FILE_BYTES) return undefined;
    const decoded = decodeText(await files.read(facts.target), fileName(path));
    if (isProblem(decoded)) return undefined;
    const secrets = findDotenvSecrets(decoded.text, rules.looksSecret);
    const names = new Set(secrets.map(({ pair }) => pair.name));
    const variables = Object.entries(dotenvVariables(parseDotenv(decoded.text))).filter(([name]) => !names.has(name));
    return { path, secrets, variables: Object.fromEntries(variables) };
  } catch {
    return undefined;
  }
}

/** Absolute path of an entry's `envFile`; `undefined` if it has none or it can't be told here. */
export function environmentFilePath(entry: Pick<Entry, 'envFile'>, { surroundings, workspaceFolder }: PlaceContext): string | undefined {
  if (entry.envFile === undefined) return undefined;
  const path = pathsOf(surroundings);
  let text = entry.envFile;
  for (const { kind, name, span } of findReferences(text).toReversed()) {
    const value =
      kind === 'environment'
        ? surroundings.env[name]
        : name === 'userHome'
          ? surroundings.home
          : kind === 'place'
            ? workspaceFolder
            : undefined;
    if (value === undefined) return undefined;
    text = text.slice(0, span.offset) + value + text.slice(span.offset + span.length);
  }
  if (path.isAbsolute(text)) return path.normalize(text);
  return workspaceFolder === undefined ? undefined : path.join(workspaceFolder, text);
}
