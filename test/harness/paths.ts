import path from 'node:path';

/**
 * The project's root folder. Host tests run from a bundle in `out/host`, where a path relative to the source would be wrong; the runner
 * tells them through the environment.
 */
export const PROJECT_ROOT = process.env['CULVERT_PROJECT_ROOT'] ?? path.resolve(import.meta.dirname, '../..');

/** Where VS Code builds for the tests are kept between runs. Not under version control. */
export const VSCODE_CACHE = path.join(PROJECT_ROOT, '.vscode-test');

/** Screenshots of the UI suites. */
export const SHOTS = path.join(PROJECT_ROOT, 'out', 'shots');
