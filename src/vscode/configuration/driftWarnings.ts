import * as vscode from 'vscode';
import { visible } from '../../common/text.ts';
import { describeDrift, sidesOf, type Drift } from '../../configuration/drift.ts';
import { setContext } from '../adapters.ts';
import { CONTEXT } from '../names.ts';
import { askChoice, single, withoutIcons } from '../steps.ts';
import type { DriftWatch } from './driftWatch.ts';
import type { Reviews } from './reviews.ts';
import type { EntryAddress } from './serverLenses.ts';

const TITLE = 'Culvert: Configuration Changes';

/** Tells of what leads past Culvert, and asks what shall become of it. */
export class DriftWarnings implements vscode.Disposable {
  readonly #watch: DriftWatch;
  readonly #reviews: Reviews;
  readonly #route: (entry: EntryAddress) => Promise<void>;
  readonly #subscriptions: vscode.Disposable[];

  constructor(watch: DriftWatch, reviews: Reviews, route: (entry: EntryAddress) => Promise<void>) {
    this.#watch = watch;
    this.#reviews = reviews;
    this.#route = route;
    setContext(CONTEXT.hasDrift, false);
    this.#subscriptions = [
      watch.onDidChange((open) => {
        setContext(CONTEXT.hasDrift, open.length > 0);
        void this.#tell();
      }),
      vscode.window.onDidChangeWindowState(() => void this.#tell()),
    ];
  }

  dispose(): void {
    for (const one of this.#subscriptions) one.dispose();
  }

  /** **Culvert: Review Configuration Changes…** */
  async review(): Promise<void> {
    for (;;) {
      const { open } = this.#watch;
      const [first] = open;
      if (!first) {
        void vscode.window.showInformationMessage('Nothing in the configurations of this machine and workspace has changed past Culvert.');
        return;
      }
      const answer = await askChoice<Drift | 'all'>(single(TITLE), 'What changed past Culvert', [
        ...open.map((drift) => ({
          label: `$(${drift.kind === 'auto-approval' ? 'unlock' : 'warning'}) ${withoutIcons(visible(describeDrift(drift), 160))}`,
          value: drift,
        })),
        ...(open.length > 1 ? [{ label: '$(check-all) Accept all', value: 'all' as const }] : []),
      ]);
      if (answer.kind !== 'value') return;
      if (answer.value === 'all') await this.#watch.accept(open);
      else if (!(await this.#decide(answer.value))) return;
    }
  }

  /** One question for one drift; false ends the review. */
  async #decide(drift: Drift): Promise<boolean> {
    const title = drift.kind === 'auto-approval' ? drift.approval.setting : `${drift.server.name} before and after`;
    const { before, after } = sidesOf(drift);
    await this.#reviews.compare(visible(title, 60), before, after);
    const answer = await askChoice<'route' | 'accept' | 'open'>(
      { ...single(TITLE), prompt: describeDrift(drift) },
      'What shall become of it?',
      [
        ...(drift.kind === 'auto-approval'
          ? []
          : [
              {
                label: '$(shield) Route through Culvert',
                description: 'its credentials are sealed, its calls granted',
                value: 'route' as const,
              },
            ]),
        { label: '$(go-to-file) Open the file', value: 'open' },
        { label: '$(check) Accept', description: 'it is as you want it', value: 'accept' },
      ],
    );
    if (answer.kind !== 'value') return false;
    if (answer.value === 'accept') {
      await this.#watch.accept([drift]);
      return this.#watch.open.length > 0;
    }
    const uri = vscode.Uri.file(drift.kind === 'auto-approval' ? drift.approval.file : drift.server.file);
    if (answer.value === 'open' || drift.kind === 'auto-approval') await vscode.window.showTextDocument(uri);
    else await this.#route({ uri: uri.toString(), path: drift.server.path });
    return false;
  }

  /** Once for each, and only in the window that the user looks at. */
  async #tell(): Promise<void> {
    if (!vscode.window.state.focused || this.#watch.open.length === 0) return;
    const fresh = await this.#watch.untold();
    const [first] = fresh;
    if (!first) return;
    const text =
      fresh.length === 1
        ? describeDrift(first)
        : `${fresh.length} changes in MCP configurations lead past Culvert. ${describeDrift(first)}`;
    const choice = await vscode.window.showWarningMessage(visible(text, 300), 'Review…', 'Accept');
    if (choice === 'Review…') await (fresh.length === 1 ? this.#decide(first) : this.review());
    if (choice === 'Accept') await this.#watch.accept(fresh);
  }
}
