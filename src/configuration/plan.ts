import { MAX_LABEL_CHARACTERS, bindingOf, commandDigest, type UpstreamPlace } from '../mcp/server.ts';
import type { Bridge } from './bridge.ts';
import type { FoundCredential, FoundPlacement } from './credentials.ts';
import { isProblem } from './document.ts';
import { changeFor, editEntries, leftovers, type EntryChange, type PlannedEdit } from './edit.ts';
import { describeEntry } from './entry.ts';
import { fileName, linkNotice, refuseWrite, type OpenedFile, type TextFile } from './files.ts';
import type { Hidden } from './hidden.ts';
import { placeOf, type PlaceContext } from './place.ts';
import type { Reference } from './references.ts';
import type { FoundServer } from './scan.ts';
import { MIN_SECRET_CHARACTERS, looksSecret, type LooksSecret } from './secretShape.ts';
import type { Span } from './textEdit.ts';

/** Longest suggested name of a credential, in characters; `${culvert:name}` takes no longer one. */
const MAX_NAME_CHARACTERS = 60;
/** Longest secret that Culvert's vault takes, in characters. */
const MAX_SECRET_CHARACTERS = 16 * 1024;

/** A credential of a picked server: as found, or as the user wants it. */
export interface CredentialPick {
  readonly credential: FoundCredential;
  /** Default: made from the server's label and what it is. */
  readonly name?: string;
  /** Instead of the one that was found. */
  readonly placement?: FoundPlacement;
  /** For a reference: the value, if the user gave it already. Otherwise it is asked for when it is sealed. */
  readonly value?: Hidden;
}

/** A server that the user picked. */
export interface Pick {
  readonly server: FoundServer;
  readonly context: PlaceContext;
  /** Default: the name in the file. */
  readonly label?: string;
  /** The credentials to seal. Default: every one that Culvert can place. What is left out stays a plain value of the server. */
  readonly credentials?: readonly CredentialPick[];
  /** The user saw the whole command and wants it to run. */
  readonly confirmed?: boolean;
}

/** What {@link planImport} needs. */
export interface ImportRequest {
  readonly picks: readonly Pick[];
  /** What is in use already; compared without regard to case. */
  readonly taken: { readonly labels: readonly string[]; readonly credentials: readonly string[] };
  readonly newServerId: () => string;
  /** How the bridge of a server is started. */
  readonly bridge: (serverId: string) => Bridge;
  readonly looksSecret?: LooksSecret;
}

/** A secret to seal. */
export interface SealStep {
  /** Within the plan. */
  readonly id: string;
  readonly name: string;
  readonly placement: FoundPlacement;
  /** What it is bound to: `bindingOf` the server's place. */
  readonly binding: string;
  /** Absent: ask the user, or take it from where `reference` leads if the user wants that. */
  readonly value?: Hidden;
  /** Masked value, or the reference as written. */
  readonly evidence: string;
  /** Where the value is so far, if it is not in the file. */
  readonly reference?: Reference;
  /** What it was found as, for the question. */
  readonly what: string;
  /** The server may not read it as a variable: it was an argument so far. */
  readonly uncertain: boolean;
  /** Absolute path of a file that an import does not edit, and that holds the value all the same: an entry's `envFile`. */
  readonly stays?: string;
}

/** A server to register. */
export interface RegisterStep {
  readonly serverId: string;
  /** Unique. */
  readonly label: string;
  readonly place: UpstreamPlace;
  /** Files whose entries lead to it, links followed. */
  readonly files: readonly string[];
  /** {@link SealStep.id}s. */
  readonly seals: readonly string[];
  /** What the server got so far and will not get. */
  readonly leftOut: readonly string[];
}

/** A file to write. */
export interface WriteStep {
  readonly file: OpenedFile;
  readonly edit: PlannedEdit;
  /** Sentences to show with the diff. */
  readonly notices: readonly string[];
  /** Where a sealed value would still stand afterwards, in the new text: a comment, another entry. */
  readonly leftovers: readonly Span[];
}

/** A file beside the clients' own to write whole, or to make. */
export interface TextStep {
  readonly file: TextFile;
  readonly text: string;
  /** Sentences to show with the diff. */
  readonly notices: readonly string[];
}

/**
 * What still stands in plaintext after an import, in sentences: an `envFile` may serve other programs, so it is left as it is. Names files
 * and variables, never a value.
 */
export function remains({ seals }: { readonly seals: readonly SealStep[] }): readonly string[] {
  const byFile = new Map<string, string[]>();
  for (const { stays, placement } of seals) {
    if (stays === undefined || !('name' in placement)) continue;
    byFile.set(stays, [...(byFile.get(stays) ?? []), placement.name]);
  }
  return [...byFile].map(
    ([path, names]) =>
      `${fileName(path)} still holds ${names.join(', ')} in plaintext, since other programs may read it: if none does, remove ${names.length === 1 ? 'it' : 'them'} there.`,
  );
}

/** A pick that can't be imported. */
export interface Refusal {
  /** {@link describeEntry} */
  readonly what: string;
  readonly reason: string;
}

/** Everything an import will do, in this order: seal, register, write. Nothing has happened yet. */
export interface ImportPlan {
  readonly seals: readonly SealStep[];
  readonly registers: readonly RegisterStep[];
  /** Entries of the clients' files. */
  readonly writes: readonly WriteStep[];
  readonly texts?: readonly TextStep[];
  readonly refused: readonly Refusal[];
}

interface Draft {
  readonly serverId: string;
  readonly label: string;
  readonly place: UpstreamPlace;
  readonly leftOut: readonly string[];
  readonly seals: readonly SealStep[];
  /** Files that lead to it. */
  readonly targets: Set<string>;
}

/** Plans an import. Picks that describe the same server (same place, same credentials) become one server. */
export function planImport(request: ImportRequest): ImportPlan {
  const rules = request.looksSecret ?? looksSecret;
  const labels = new Names(request.taken.labels);
  const names = new Names(request.taken.credentials);
  const drafts = new Map<string, Draft>();
  const changes = new Map<string, { readonly file: OpenedFile; readonly list: EntryChange[] }>();
  const refused: Refusal[] = [];
  let serial = 0;

  for (const pick of request.picks) {
    const { entry, file } = pick.server;
    const planned = plannedServer(pick);
    if ('reason' in planned) {
      refused.push({ what: describeEntry(entry), reason: planned.reason });
      continue;
    }
    const key = sameness(planned);
    let draft = drafts.get(key);
    if (!draft) {
      const label = labels.take(pick.label ?? entry.name, MAX_LABEL_CHARACTERS, ' ');
      const binding = bindingOf(planned.place);
      const seals = planned.credentials.map(({ name, placement, value, evidence, what, uncertain, reference, stays }): SealStep => ({
        id: `seal-${++serial}`,
        name: names.take(name ?? suggestName(label, placement), MAX_NAME_CHARACTERS, '-'),
        placement,
        binding,
        ...(value ? { value } : {}),
        evidence,
        ...(reference ? { reference } : {}),
        what,
        uncertain,
        ...(stays === undefined ? {} : { stays }),
      }));
      draft = { serverId: request.newServerId(), label, place: planned.place, leftOut: planned.leftOut, seals, targets: new Set() };
      drafts.set(key, draft);
    }
    draft.targets.add(file.facts.target);
    const group = changes.get(file.facts.target) ?? { file, list: [] };
    changes.set(file.facts.target, group);
    group.list.push(changeFor(entry, request.bridge(draft.serverId)));
  }

  const values = [...drafts.values()].flatMap((draft) => draft.seals.flatMap(({ value }) => value?.reveal() ?? []));
  const writes: WriteStep[] = [];
  for (const { file, list } of changes.values()) {
    const name = fileName(file.location.path);
    const edit = editEntries(file.document, list, name, rules);
    if (isProblem(edit)) {
      refused.push(...list.map(({ entry }) => ({ what: describeEntry(entry), reason: edit.message })));
      continue;
    }
    const left = leftovers(edit.text, values);
    const link = linkNotice(file);
    writes.push({
      file,
      edit,
      leftovers: left,
      notices: [
        ...(link === undefined ? [] : [link]),
        ...(file.location.scope === 'workspace' && list.some((change) => change.kind === 'bridge')
          ? [`${name} may be shared with others: the new entry holds paths of this machine.`]
          : []),
        ...(left.length > 0
          ? [
              `${name} still holds a sealed secret in ${left.length === 1 ? 'one other place' : `${left.length} other places`}. Remove it there too.`,
            ]
          : []),
      ],
    });
  }
  // A server none of whose files can be edited is not registered either: it would run twice.
  const edited = new Set(writes.map(({ file }) => file.facts.target));
  const kept = [...drafts.values()].filter(({ targets }) => [...targets].some((target) => edited.has(target)));
  return {
    seals: kept.flatMap(({ seals }) => seals),
    registers: kept.map(({ serverId, label, place, leftOut, seals, targets }) => ({
      serverId,
      label,
      place,
      leftOut,
      files: [...targets],
      seals: seals.map(({ id }) => id),
    })),
    writes,
    refused,
  };
}

interface PlannedCredential extends Omit<SealStep, 'id' | 'name' | 'binding'> {
  readonly name?: string;
}

interface PlannedServer {
  readonly place: UpstreamPlace;
  readonly leftOut: readonly string[];
  readonly credentials: readonly PlannedCredential[];
}

function plannedServer(pick: Pick): PlannedServer | { readonly reason: string } {
  const { entry, file, bridged, environmentFile } = pick.server;
  if (bridged !== undefined) return { reason: 'It goes through Culvert already.' };
  const refusal = entry.obstacle ?? refuseWrite(file);
  if (refusal) return { reason: refusal.message };
  const picked: readonly CredentialPick[] =
    pick.credentials ?? pick.server.credentials.flatMap((credential) => (credential.placement ? [{ credential }] : []));
  for (const credential of pick.server.credentials)
    if (credential.source === 'plaintext' && credential.where === 'url-path' && credential.look.certain)
      return { reason: credential.obstacle ?? 'Its address is a secret.' };
  const credentials: PlannedCredential[] = [];
  for (const { credential, name, placement = credential.placement, value = credential.value } of picked) {
    if (!placement) return { reason: `${credential.name}: ${credential.obstacle ?? 'Culvert can’t place it.'}` };
    const refused = value && refuseValue(value.reveal());
    if (refused !== undefined) return { reason: `${credential.name}: ${refused}` };
    credentials.push({
      ...(name === undefined ? {} : { name }),
      placement,
      ...(value ? { value } : {}),
      evidence: credential.evidence,
      ...(credential.reference ? { reference: credential.reference } : {}),
      what: credential.look.what,
      uncertain: credential.uncertain === true,
    });
  }
  const given = new Set(Object.keys(entry.env));
  for (const { pair, value, evidence, look, placement } of environmentFile?.secrets ?? []) {
    // What the entry itself sets wins over its envFile, as in VS Code.
    if (given.has(pair.name) || refuseValue(value.reveal()) !== undefined) continue;
    const stays = environmentFile?.path;
    credentials.push({ placement, value, evidence, what: look.what, uncertain: false, ...(stays === undefined ? {} : { stays }) });
  }
  const context = environmentFile ? { ...pick.context, fileEnvironment: environmentFile.variables } : pick.context;
  const found = placeOf(
    entry,
    picked.map(({ credential, placement }) => (placement ? { ...credential, placement } : credential)),
    context,
  );
  if ('obstacle' in found) return { reason: found.obstacle };
  const clash = clashOf(credentials);
  if (clash !== undefined) return { reason: `Two secrets would go to the same place: ${clash}. Leave one out.` };
  const place = found.place.kind === 'stdio' && pick.confirmed ? { ...found.place, confirmed: commandDigest(found.place) } : found.place;
  return { place, leftOut: found.leftOut, credentials };
}

function refuseValue(value: string): string | undefined {
  if (value.length < MIN_SECRET_CHARACTERS)
    return `A secret has at least ${MIN_SECRET_CHARACTERS} characters; this one would be found everywhere. Leave it out, or replace it.`;
  return value.length > MAX_SECRET_CHARACTERS ? `A secret has at most ${MAX_SECRET_CHARACTERS} characters.` : undefined;
}

function clashOf(credentials: readonly PlannedCredential[]): string | undefined {
  const seen = new Set<string>();
  for (const { placement } of credentials) {
    const header = placement.kind === 'bearer' || placement.kind === 'basic' ? 'Authorization' : placement.name;
    const where =
      placement.kind === 'environment'
        ? `variable ${placement.name}`
        : placement.kind === 'query'
          ? `parameter ${placement.name}`
          : `header ${header.toLowerCase()}`;
    if (seen.has(where)) return where;
    seen.add(where);
  }
  return undefined;
}

/** Equal for picks that describe the same server. Only compared, never kept. */
function sameness({ place, credentials }: PlannedServer): string {
  const { ...bare } = place;
  if (bare.kind === 'stdio') Reflect.deleteProperty(bare, 'confirmed');
  const parts = credentials.map(({ placement, value, evidence }) => JSON.stringify([placement, value?.reveal() ?? evidence])).sort();
  return JSON.stringify([bare, parts]);
}

/** `github-token` for a bearer token of “GitHub”, `github-api-key` for its header X-API-Key. */
export function suggestName(label: string, placement: FoundPlacement): string {
  const detail = placement.kind === 'bearer' ? 'token' : placement.kind === 'basic' ? 'password' : placement.name.replace(/^x-/i, '');
  const head = slug(label);
  const tail = slug(detail);
  return (head === '' || tail.startsWith(head) ? tail : `${head}-${tail}`) || 'secret';
}

function slug(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
}

/** Gives out names that nobody has yet. */
class Names {
  readonly #taken: Set<string>;

  constructor(taken: readonly string[]) {
    this.#taken = new Set(taken.map((name) => name.trim().toLowerCase()));
  }

  take(wanted: string, maxCharacters: number, separator: string): string {
    const base = wanted.trim() === '' ? 'server' : wanted.trim();
    for (let n = 1; ; n++) {
      const suffix = n === 1 ? '' : `${separator}${n}`;
      const name = base.slice(0, maxCharacters - suffix.length) + suffix;
      const folded = name.toLowerCase();
      if (this.#taken.has(folded)) continue;
      this.#taken.add(folded);
      return name;
    }
  }
}
