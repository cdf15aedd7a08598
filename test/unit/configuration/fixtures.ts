import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { locate, type Location, type Surroundings, type Workspace } from '../../../src/configuration/locate.ts';
import { nodeFiles } from '../../../src/configuration/nodeFiles.ts';
import type { PlaceContext } from '../../../src/configuration/place.ts';
import { temporaryFolder } from '../../support/folders.ts';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../../fixtures/configuration');

/** Letters and digits that look random and are the same in every run. */
function noise(seed: string, length: number, alphabet = 'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789'): string {
  let state = 2166136261;
  for (const c of seed) state = Math.imul(state ^ c.charCodeAt(0), 16777619) >>> 0;
  let text = '';
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += alphabet[(state >>> 8) % alphabet.length] ?? 'a';
  }
  return text;
}

const KINDS: Readonly<Record<string, (seed: string) => string>> = {
  github: (seed) => ['gh', 'p_', noise(seed, 36)].join(''),
  openai: (seed) => ['s', 'k-proj-', noise(seed, 40)].join(''),
  slack: (seed) => ['xo', 'xb-', noise(seed, 11, '0123456789'), '-', noise(seed, 24)].join(''),
  stripe: (seed) => ['rk', '_test_', noise(seed, 24)].join(''),
  linear: (seed) => ['lin', '_api_', noise(seed, 40)].join(''),
  sentry: (seed) => ['sntr', 'yu_', noise(seed, 64, '0123456789abcdef')].join(''),
  supabase: (seed) => ['sb', 'p_', noise(seed, 40, '0123456789abcdef')].join(''),
  figma: (seed) => ['fig', 'd_', noise(seed, 40)].join(''),
  google: (seed) => ['AI', 'za', noise(seed, 35)].join(''),
  jwt: (seed) => ['ey', 'J', noise(seed, 20), '.ey', 'J', noise(`${seed}b`, 30), '.', noise(seed, 43)].join(''),
  password: (seed) => `${noise(seed, 10)}!x`.replace('!', '-'),
  plain: (seed) => noise(seed, 32),
};

/** A made-up token of a kind; `seed` makes it differ. */
export function token(kind: string, seed = kind): string {
  const make = KINDS[kind];
  if (!make) throw new Error(`no kind ${kind}`);
  return make(seed);
}

/** Text of a fixture, its placeholders filled. Every placeholder of a file gets a value of its own. */
export function fill(text: string, seed: string): { readonly text: string; readonly secrets: readonly string[] } {
  const secrets: string[] = [];
  let n = 0;
  const filled = text.replace(/@@(TOKEN|BASIC):([a-z]+)@@/g, (_, form: string, kind: string) => {
    const value = token(form === 'BASIC' ? 'plain' : kind, `${seed}#${++n}`);
    secrets.push(value);
    return form === 'BASIC' ? Buffer.from(`${kind}:${value}`).toString('base64') : value;
  });
  return { text: filled, secrets };
}

/** One file of the fixtures. */
export interface Fixture {
  /** Below the fixtures' root, without `.fixture`: `codex/home/.codex/config.toml`. */
  readonly name: string;
  readonly client: string;
  /** Below the home or workspace folder. */
  readonly path: string;
  readonly place: 'home' | 'workspace';
  readonly text: string;
  readonly secrets: readonly string[];
}

/** Every fixture file. */
export function allFixtures(): Fixture[] {
  return readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.fixture'))
    .sort()
    .map((file) => {
      const name = file.replace(/\.fixture$/, '').replaceAll('\\', '/');
      const [client = '', place = '', ...rest] = name.split('/');
      return {
        name,
        client,
        place: place === 'home' ? 'home' : 'workspace',
        path: rest.join('/'),
        ...fill(readFileSync(join(ROOT, file), 'utf8'), name),
      };
    });
}

/** A machine made of fixtures. */
export interface Machine {
  readonly home: string;
  readonly workspace: string;
  readonly surroundings: Surroundings;
  readonly open: Workspace;
  readonly secrets: readonly string[];
  locations(): Promise<Location[]>;
  contextOf: (location: Location) => PlaceContext;
  dispose(): void;
}

/** Lays out the fixtures of the named clients (all by default) in a home and a workspace folder. `change` alters a file's bytes. */
export function machine(
  clients?: readonly string[],
  change: (text: string, fixture: Fixture) => string | Uint8Array = (text) => text,
): Machine {
  const folder = temporaryFolder();
  const home = join(folder.path, 'home');
  const workspace = join(folder.path, 'workspace');
  mkdirSync(home);
  mkdirSync(workspace);
  const secrets: string[] = [];
  for (const fixture of allFixtures()) {
    if (clients && !clients.includes(fixture.client)) continue;
    const path = join(fixture.place === 'home' ? home : workspace, fixture.path);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, change(fixture.text, fixture));
    secrets.push(...fixture.secrets);
  }
  const surroundings: Surroundings = {
    platform: 'linux',
    home,
    env: { DB_PASSWORD: 'x', API_TOKEN: 'y', NOTION_TOKEN: 'z', FIGMA_REGION: 'eu' },
  };
  const open: Workspace = { folders: [workspace], file: join(workspace, 'team.code-workspace') };
  return {
    home,
    workspace,
    surroundings,
    open,
    secrets,
    locations: () => locate(surroundings, open, nodeFiles),
    contextOf: () => ({ surroundings, workspaceFolder: workspace }),
    dispose: () => folder.remove(),
  };
}
