import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import ts from 'typescript-eslint';

/**
 * Import zones of docs/architecture.md: extension -> vscode -> tunnel -> stages -> mcp, store, common.
 * A stage imports no other stage; inspection -> detection is the one exception.
 */
const STAGES = [
  'listener',
  'authentication',
  'authorization',
  'inspection',
  'detection',
  'credentials',
  'upstream',
  'integrity',
  'audit',
  'configuration',
];
const FOUNDATION = ['mcp', 'store', 'common'];
const ABOVE = ['tunnel', 'vscode', 'bridge'];

const zone = (folder, forbidden, extra = []) => ({
  files: [`src/${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        paths: folder === 'vscode' ? [] : [{ name: 'vscode', message: 'Only src/vscode and src/extension.ts may import vscode.' }],
        patterns: [
          ...(forbidden.length
            ? [
                {
                  group: forbidden.map((f) => `**/${f}/**`),
                  message: `src/${folder} must not import from there (import zones, docs/architecture.md).`,
                },
              ]
            : []),
          { group: ['**/extension.ts'], message: 'Nothing imports the composition root.' },
          ...extra,
        ],
      },
    ],
  },
});

const without = (list, ...names) => list.filter((x) => !names.includes(x));

export default defineConfig(
  // src/detection/wasm is AssemblyScript: it looks like TypeScript, and its types and operators are others.
  { ignores: ['dist', 'out', 'node_modules', '.vscode-test', 'coverage', 'src/detection/wasm'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...ts.configs.strictTypeChecked, ...ts.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true, named: true, defaultFrom: true } }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // VS Code's Disposable is a class, and its API takes anything with dispose().
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/dot-notation': 'off',
      eqeqeq: 'error',
    },
  },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off', '@typescript-eslint/no-unused-expressions': 'off' },
  },
  {
    files: ['**/*.{js,mjs,cjs}'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        Buffer: 'readonly',
        URL: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
        setInterval: 'readonly',
        clearInterval: 'readonly',
        fetch: 'readonly',
        AbortSignal: 'readonly',
        require: 'readonly',
        module: 'readonly',
        exports: 'readonly',
      },
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "ImportDeclaration[source.value='zod'] > ImportSpecifier[imported.name='z']",
          message: "The object z brings all of zod into the bundle, a quarter of a megabyte. Write: import * as z from 'zod'.",
        },
      ],
    },
  },
  zone('common', [...without(FOUNDATION, 'common'), ...STAGES, ...ABOVE]),
  zone('mcp', [...STAGES, ...ABOVE, 'store']),
  zone('store', [...STAGES, ...ABOVE, 'mcp']),
  ...STAGES.map((s) => zone(s, [...without(STAGES, s, ...(s === 'inspection' ? ['detection'] : [])), ...ABOVE])),
  zone('tunnel', ['vscode', 'bridge']),
  zone('bridge', [...without(STAGES), ...ABOVE.filter((x) => x !== 'bridge'), 'mcp', 'store']),
  zone('vscode', ['bridge', 'webview']),
  zone('webview', [...STAGES, 'mcp', 'store', 'tunnel', 'bridge']),
);
