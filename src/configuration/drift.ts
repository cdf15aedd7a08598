import { hash } from 'node:crypto';
import * as z from 'zod';
import { findAutoApprovals, type AutoApproval } from './autoApproval.ts';
import { CLIENTS } from './clients.ts';
import type { FoundCredential } from './credentials.ts';
import { isProblem } from './document.ts';
import { readEntries, type Entry } from './entry.ts';
import { fileName, openFile, type ConfigurationFiles } from './files.ts';
import type { Location } from './locate.ts';
import { serversOf, type ContextOf } from './scan.ts';

/** What stands in a snapshot in the place of a secret. */
const MASK = '•••';

/** An entry without any secret: what decides where it leads. */
export const EntryShape = z.strictObject({
  transport: z.enum(['http', 'sse', 'stdio', 'unknown']),
  /** Secrets in it are masked. */
  url: z.string().optional(),
  command: z.string().optional(),
  args: z.array(z.string()).readonly(),
  /** Names only. */
  variables: z.array(z.string()).readonly(),
  headers: z.array(z.string()).readonly(),
  cwd: z.string().optional(),
  envFile: z.string().optional(),
  disabled: z.boolean(),
});
export type EntryShape = z.infer<typeof EntryShape>;

const SnapshotServer = z.strictObject({
  client: z.string(),
  file: z.string(),
  /** Path inside the file, as JSON: the same name may stand in several projects. */
  path: z.string(),
  name: z.string(),
  /** SHA-256 of the shape, hex. */
  digest: z.string(),
  shape: EntryShape,
  /** It goes through Culvert. */
  ours: z.boolean(),
});

/** What was known of the clients' configurations at one time. Holds no secret; may be stored. */
export const Snapshot = z.strictObject({
  version: z.literal(1),
  /** Milliseconds since the epoch. */
  at: z.number().int(),
  servers: z.array(SnapshotServer).readonly(),
  approvals: z.array(z.strictObject({ client: z.string(), file: z.string(), setting: z.string(), meaning: z.string() })).readonly(),
  /** Files that exist and could not be read: nothing is concluded from what is missing in them. */
  unreadable: z.array(z.string()).readonly(),
});
export type Snapshot = z.infer<typeof Snapshot>;
export type SnapshotServer = z.infer<typeof SnapshotServer>;

/** One difference in a shape. */
export interface ShapeChange {
  readonly what: keyof EntryShape;
  readonly before: string;
  readonly after: string;
}

/** Something that changed in a client's configuration and that the user should see. */
export type Drift =
  | { readonly kind: 'new-server'; readonly server: SnapshotServer }
  /** Somewhere else behind a known name. `wasOurs`: it went through Culvert before. */
  | {
      readonly kind: 'changed-server';
      readonly server: SnapshotServer;
      readonly before: SnapshotServer;
      readonly changes: readonly ShapeChange[];
      readonly wasOurs: boolean;
    }
  | { readonly kind: 'auto-approval'; readonly approval: Snapshot['approvals'][number] };

/** The secret-free shape of an entry. */
export function shapeOf(entry: Entry, credentials: readonly FoundCredential[]): EntryShape {
  const masked = (where: 'url' | 'argument', value: string, index?: number): string => {
    const own = credentials.filter((c) => {
      const at = entry.values.find((v) => v.path === c.path || JSON.stringify(v.path) === JSON.stringify(c.path));
      return c.source === 'plaintext' && at?.where === where && (index === undefined || at.path.at(-1) === index);
    });
    return own
      .toSorted((a, b) => b.within.offset - a.within.offset)
      .reduce((text, { within }) => text.slice(0, within.offset) + MASK + text.slice(within.offset + within.length), value);
  };
  return {
    transport: entry.transport,
    ...(entry.url === undefined ? {} : { url: masked('url', entry.url) }),
    ...(entry.command === undefined ? {} : { command: entry.command }),
    args: entry.args.map((arg, i) => masked('argument', arg, i)),
    variables: Object.keys(entry.env).sort(),
    headers: Object.keys(entry.headers).sort(),
    ...(entry.cwd === undefined ? {} : { cwd: entry.cwd }),
    ...(entry.envFile === undefined ? {} : { envFile: entry.envFile }),
    disabled: entry.disabled,
  };
}

/** Looks at every location. `isOurs` says whether an entry starts Culvert's own bridge: by its whole command, not by a name in it. */
export async function takeSnapshot(
  files: ConfigurationFiles,
  locations: readonly Location[],
  contextOf: ContextOf,
  isOurs: (entry: Entry) => boolean,
  at: number,
): Promise<Snapshot> {
  const servers: SnapshotServer[] = [];
  const approvals: AutoApproval[] = [];
  const unreadable: string[] = [];
  for (const location of locations) {
    const file = await openFile(files, location);
    if (isProblem(file)) {
      if (file.code !== 'missing') unreadable.push(location.path);
      continue;
    }
    approvals.push(...findAutoApprovals(file.document.root, location, readEntries(file.document, location, fileName(location.path))));
    for (const { entry, credentials } of await serversOf(files, file, contextOf(location))) {
      const shape = shapeOf(entry, credentials);
      servers.push({
        client: entry.client,
        file: entry.file,
        path: JSON.stringify(entry.path),
        name: entry.name,
        digest: hash('sha256', JSON.stringify(Object.entries(shape).sort(([a], [b]) => (a < b ? -1 : 1)))),
        shape,
        ours: isOurs(entry),
      });
    }
  }
  const plain = approvals.map(({ client, file, setting, meaning }) => ({ client, file, setting, meaning }));
  return { version: 1, at, servers, approvals: plain, unreadable };
}

const identity = (server: SnapshotServer): string => JSON.stringify([server.client, server.file, server.name, withoutIndex(server.path)]);

/** In a list the index moves when another entry goes; the name tells. */
function withoutIndex(path: string): unknown {
  return (JSON.parse(path) as (string | number)[]).filter((step) => typeof step === 'string');
}

/** What changed between two snapshots and does not go through Culvert. Servers that went away are no drift. */
export function compareSnapshots(before: Snapshot, after: Snapshot): Drift[] {
  const drifts: Drift[] = [];
  const known = new Map(before.servers.map((server) => [identity(server), server]));
  for (const server of after.servers) {
    if (server.ours) continue;
    const old = known.get(identity(server));
    // A file that could not be read last time says nothing about what is new in it.
    if (!old && !before.unreadable.includes(server.file)) drifts.push({ kind: 'new-server', server });
    if (!old || old.digest === server.digest) continue;
    const changes = changesOf(old.shape, server.shape);
    // Switched off is no danger; everything else that differs decides what runs or where calls go.
    if (changes.every(({ what, after: now }) => what === 'disabled' && now === 'true')) continue;
    drifts.push({ kind: 'changed-server', server, before: old, changes, wasOurs: old.ours });
  }
  const seen = new Set(before.approvals.map(({ file, setting }) => `${file}\n${setting}`));
  for (const approval of after.approvals)
    if (!seen.has(`${approval.file}\n${approval.setting}`)) drifts.push({ kind: 'auto-approval', approval });
  return drifts;
}

/** Tells a drift from others and from itself at another time; holds no secret. */
export function driftKey(drift: Drift): string {
  if (drift.kind === 'auto-approval') return hash('sha256', JSON.stringify([drift.approval.file, drift.approval.setting]));
  return hash('sha256', JSON.stringify([drift.kind, identity(drift.server), drift.server.digest]));
}

/** File that a drift was found in. */
export function fileOf(drift: Drift): string {
  return drift.kind === 'auto-approval' ? drift.approval.file : drift.server.file;
}

/**
 * What counts as known after a look: everything but the drifts that nobody has accepted yet. Servers that are gone stay known, so that one
 * that comes back is no news; switches that are gone are forgotten, so that one that is set again is.
 */
export function settle(before: Snapshot, after: Snapshot, open: readonly Drift[]): Snapshot {
  const held = new Set(open.flatMap((drift) => (drift.kind === 'auto-approval' ? [] : [identity(drift.server)])));
  const heldSettings = new Set(open.flatMap((drift) => (drift.kind === 'auto-approval' ? [settingKey(drift.approval)] : [])));
  const servers = new Map(before.servers.map((server) => [identity(server), server]));
  for (const server of after.servers) if (!held.has(identity(server))) servers.set(identity(server), server);
  return {
    version: 1,
    at: after.at,
    servers: [...servers.values()].slice(-MAX_KNOWN_SERVERS),
    approvals: after.approvals.filter((approval) => !heldSettings.has(settingKey(approval))),
    unreadable: after.unreadable,
  };
}

/** Servers that are remembered; the oldest go. */
const MAX_KNOWN_SERVERS = 2_000;

const settingKey = ({ file, setting }: Snapshot['approvals'][number]): string => `${file}\n${setting}`;

/** Both sides of a change as texts to compare, secrets masked. */
export function sidesOf(drift: Drift): { readonly before: string; readonly after: string } {
  const text = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;
  if (drift.kind === 'auto-approval')
    return { before: '', after: text({ setting: drift.approval.setting, meaning: drift.approval.meaning }) };
  const after = text({ [drift.server.name]: drift.server.shape });
  return { before: drift.kind === 'changed-server' ? text({ [drift.before.name]: drift.before.shape }) : '', after };
}

function changesOf(before: EntryShape, after: EntryShape): ShapeChange[] {
  const keys = ['transport', 'url', 'command', 'args', 'variables', 'headers', 'cwd', 'envFile', 'disabled'] as const;
  const words = (value: EntryShape[keyof EntryShape]): string =>
    typeof value === 'object' ? value.join(' ') : value === undefined ? '' : String(value);
  return keys.flatMap((what) => {
    const [old, now] = [words(before[what]), words(after[what])];
    return old === now && JSON.stringify(before[what]) === JSON.stringify(after[what]) ? [] : [{ what, before: old, after: now }];
  });
}

/** A drift as a sentence for a warning. */
export function describeDrift(drift: Drift): string {
  if (drift.kind === 'auto-approval')
    return `${labelOf(drift.approval.client)}: ${drift.approval.setting} is on. ${drift.approval.meaning}`;
  const { name, client, file } = drift.server;
  const where = `${labelOf(client)} (${fileName(file)})`;
  if (drift.kind === 'new-server') return `${where} has a new server “${name}” that does not go through Culvert.`;
  if (drift.wasOurs) return `“${name}” of ${where} no longer goes through Culvert.`;
  return `“${name}” of ${where} changed: ${drift.changes.map(({ what }) => what).join(', ')}.`;
}

function labelOf(client: string): string {
  return (CLIENTS as Readonly<Record<string, { readonly label: string } | undefined>>)[client]?.label ?? client;
}
