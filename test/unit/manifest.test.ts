import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  COMMANDS,
  CONTEXT,
  ITEMS,
  ITEM_COMMANDS,
  LANGUAGES,
  PROVIDER_ID,
  SETTINGS,
  VIEWS,
  WORKSPACE_SETTINGS,
} from '../../src/vscode/names.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

interface Menu {
  readonly command: string;
  readonly when?: string;
}
interface Manifest {
  readonly main: string;
  readonly icon: string;
  readonly engines: { readonly vscode: string };
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly contributes: {
    readonly commands: readonly {
      readonly command: string;
      readonly title: string;
      readonly category: string;
      readonly enablement?: string;
    }[];
    readonly views: Readonly<Record<string, readonly { readonly id: string; readonly icon: string }[]>>;
    readonly viewsWelcome: readonly { readonly view: string; readonly when: string; readonly contents: string }[];
    readonly viewsContainers: { readonly activitybar: readonly { readonly id: string; readonly icon: string }[] };
    readonly menus: Readonly<Record<string, readonly Menu[]>>;
    readonly configuration: { readonly properties: Readonly<Record<string, { readonly scope: string }>> };
    readonly languages: readonly { readonly id: string }[];
    readonly grammars: readonly { readonly scopeName: string; readonly path: string; readonly language?: string }[];
    readonly walkthroughs: readonly {
      readonly icon: string;
      readonly description: string;
      readonly steps: readonly {
        readonly description: string;
        readonly media: { readonly svg: string };
        readonly completionEvents: readonly string[];
      }[];
    }[];
    readonly mcpServerDefinitionProviders: readonly { readonly id: string }[];
  };
}

const manifest = JSON.parse(read('package.json')) as Manifest;
const words = JSON.parse(read('package.nls.json')) as Record<string, string>;
const { contributes } = manifest;

function sources(folder: string): string[] {
  return readdirSync(join(root, folder)).flatMap((name) => {
    const path = join(folder, name);
    return statSync(join(root, path)).isDirectory() ? sources(path) : path.endsWith('.ts') ? [path] : [];
  });
}

const code = ['src/extension.ts', ...sources('src/vscode')]
  .filter((p) => relative('src/vscode/names.ts', p) !== '')
  .map(read)
  .join('\n');
const whens = [
  ...Object.values(contributes.menus).flatMap((items) => items.map((i) => i.when ?? '')),
  ...contributes.viewsWelcome.map((w) => w.when),
  ...contributes.commands.map((c) => c.enablement ?? ''),
  ...contributes.walkthroughs.flatMap((w) => w.steps.flatMap((s) => s.completionEvents.filter((e) => e.startsWith('onContext:')))),
];

describe('manifest', () => {
  it('contributes exactly the commands that the code registers', () => {
    assert.deepEqual(contributes.commands.map((c) => c.command).sort(), Object.values(COMMANDS).sort());
    for (const name of Object.keys(COMMANDS)) assert.match(code, new RegExp(`COMMANDS\\.${name}\\b`), `COMMANDS.${name} is not used`);
  });

  it('contributes exactly the views that the code fills', () => {
    assert.deepEqual(
      Object.values(contributes.views)
        .flat()
        .map((v) => v.id)
        .sort(),
      Object.values(VIEWS).sort(),
    );
    for (const name of Object.keys(VIEWS)) assert.match(code, new RegExp(`VIEWS\\.${name}\\b`));
  });

  it('contributes exactly the settings that the code reads, none of them open to a workspace but those that it can only tighten', () => {
    assert.deepEqual(Object.keys(contributes.configuration.properties).sort(), Object.values(SETTINGS).sort());
    for (const name of Object.keys(SETTINGS)) assert.match(code, new RegExp(`SETTINGS\\.${name}\\b`));
    for (const [name, property] of Object.entries(contributes.configuration.properties))
      assert.equal(property.scope, WORKSPACE_SETTINGS.includes(name) ? 'window' : 'application', name);
  });

  it('uses exactly the context keys that the code sets', () => {
    const used = new Set(
      whens.flatMap((when) => when.match(/culvert\.[A-Za-z]+/g) ?? []).filter((key) => !Object.values<string>(VIEWS).includes(key)),
    );
    assert.deepEqual([...used].sort(), Object.values(CONTEXT).sort());
    for (const name of Object.keys(CONTEXT)) assert.match(code, new RegExp(`CONTEXT\\.${name}\\b`));
  });

  it('names only commands and items that exist in menus, and every item command is hidden from the palette', () => {
    for (const [menu, items] of Object.entries(contributes.menus))
      for (const item of items) assert.ok(Object.values<string>(COMMANDS).includes(item.command), `${menu}: ${item.command}`);
    const hidden = (contributes.menus['commandPalette'] ?? []).filter((i) => i.when === 'false').map((i) => i.command);
    assert.deepEqual(hidden.sort(), [...ITEM_COMMANDS].sort());
    for (const when of whens)
      for (const [, item] of when.matchAll(/viewItem == ([\w.]+)/g))
        assert.ok(Object.values<string>(ITEMS).includes((item ?? '').split('.')[0] ?? ''), when);
  });

  it('shows no command in the palette where it would do nothing', () => {
    const palette = new Map((contributes.menus['commandPalette'] ?? []).map((i) => [i.command, i.when]));
    for (const { command, enablement } of contributes.commands) {
      if (enablement !== undefined && palette.get(command) !== 'false') assert.equal(palette.get(command), enablement, command);
    }
  });

  it('has every word in package.nls.json, and no word twice or for nothing', () => {
    const text = read('package.json');
    const keys = [...text.matchAll(/"%([^%"]+)%"/g)].map((m) => m[1] ?? '');
    assert.deepEqual([...new Set(keys)].sort(), Object.keys(words).sort());
    for (const { title, category } of contributes.commands) {
      assert.match(title, /^%/);
      assert.equal(category, 'Culvert');
    }
    for (const w of contributes.viewsWelcome)
      for (const [, link] of (words[w.contents.slice(1, -1)] ?? '').matchAll(/command:([\w.]+)/g))
        assert.ok(Object.values<string>(COMMANDS).includes(link ?? ''));
  });

  it('names commands in messages as they are titled', () => {
    const titles = new Set(contributes.commands.map((c) => words[c.title.slice(1, -1)]));
    const named = [
      ...sources('src')
        .map(read)
        .join('\n')
        .matchAll(/“Culvert: ([^”$]+)”/g),
    ].map((m) => m[1] ?? '');
    assert.ok(named.length > 5);
    for (const name of named) assert.ok(titles.has(name), `no command is titled “${name}”`);
  });

  it('registers the provider it contributes, and points to files that exist', () => {
    assert.deepEqual(
      contributes.mcpServerDefinitionProviders.map((p) => p.id),
      [PROVIDER_ID],
    );
    for (const path of [
      manifest.icon,
      ...contributes.viewsContainers.activitybar.map((v) => v.icon),
      ...Object.values(contributes.views)
        .flat()
        .map((v) => v.icon),
      ...contributes.grammars.map((g) => g.path),
      ...contributes.walkthroughs.flatMap((w) => [w.icon, ...w.steps.map((s) => s.media.svg)]),
    ])
      assert.ok(statSync(join(root, path)).isFile(), path);
  });

  it('has a grammar for each language, and the languages that the code sets', () => {
    // The policy of a workspace may hold comments; that language is the editor's own.
    const own = contributes.languages.filter((l) => l.id !== 'jsonc');
    assert.deepEqual(
      own.map((l) => l.id),
      Object.values(LANGUAGES),
    );
    for (const { scopeName, path, language } of contributes.grammars) {
      assert.equal((JSON.parse(read(path)) as { scopeName: string }).scopeName, scopeName);
      assert.ok(language === undefined || contributes.languages.some((l) => l.id === language), path);
    }
  });

  it('completes every step of the walkthrough by what exists, and links only to commands and views that do', () => {
    const known = [...Object.values<string>(COMMANDS), ...Object.values<string>(VIEWS).map((view) => `${view}.focus`)];
    const steps = contributes.walkthroughs.flatMap((w) => w.steps);
    assert.equal(steps.length, 5);
    for (const { completionEvents, description } of steps) {
      assert.ok(completionEvents.length > 0);
      for (const event of completionEvents) {
        const [kind, name = ''] = event.split(':');
        assert.ok((kind === 'onContext' ? Object.values<string>(CONTEXT) : kind === 'onCommand' ? known : []).includes(name), event);
      }
      const text = words[description.slice(1, -1)] ?? '';
      const links = [...text.matchAll(/\(command:([\w.]+)\)/g)].map((m) => m[1] ?? '');
      assert.ok(links.length > 0 && links.every((link) => known.includes(link)), text);
    }
  });

  it('pins the API types to the oldest editor it says it runs in', () => {
    assert.equal(manifest.devDependencies['@types/vscode'], manifest.engines.vscode.replace('^', ''));
  });
});
