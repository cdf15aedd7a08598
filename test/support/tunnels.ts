import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Answer, ApprovalRequest, Approver } from '../../src/authorization/approvalRequest.ts';
import type { Entry, Intent, Outcome } from '../../src/audit/record.ts';
import type { Logger } from '../../src/common/logger.ts';
import { DATABASE_FILE } from '../../src/tunnel/core.ts';
import { startTunnel, type HeadlessOptions, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { FakeServer } from './fakeServer.ts';
import { temporaryFolder } from './folders.ts';
import { keepText } from './noted.ts';

/** Keeps every line. */
export class KeptLog implements Logger {
  readonly lines: string[] = [];
  readonly #keep = (line: string) => void this.lines.push(line);
  readonly debug = this.#keep;
  readonly info = this.#keep;
  readonly warn = this.#keep;
  readonly error = this.#keep;
}

/** Keeps questions until a test answers them. */
export class WaitingApprover implements Approver {
  readonly asked: ApprovalRequest[] = [];
  readonly #answers: ((answer: Answer) => void)[] = [];
  #onAsk: (() => void) | undefined;

  ask(request: ApprovalRequest): Promise<Answer> {
    this.asked.push(request);
    return new Promise((resolve) => {
      this.#answers.push(resolve);
      this.#onAsk?.();
    });
  }

  /** Resolves when `count` questions have been asked since the start. */
  async questions(count: number): Promise<void> {
    while (this.asked.length < count) await new Promise<void>((resolve) => (this.#onAsk = resolve));
  }

  answer(index: number, answer: Answer): void {
    this.#answers[index]?.(answer);
  }
}

/** A fake server, a state folder that somebody else can open too, and tunnels in front of it; takes everything away at the end. */
export class Scene {
  readonly server = new FakeServer();
  readonly state = temporaryFolder();
  readonly log = new KeptLog();
  readonly approver = new WaitingApprover();
  readonly #tunnels: HeadlessTunnel[] = [];
  #outside: DatabaseSync | undefined;

  /** Opens a tunnel, another window if one is open already and `vault` is the same. */
  async open(options: Partial<HeadlessOptions> = {}): Promise<HeadlessTunnel> {
    const tunnel = await startTunnel({
      upstream: { url: this.server.url, label: 'Fake' },
      stateFolder: this.state.path,
      logger: this.log,
      approver: this.approver,
      ...options,
    });
    this.#tunnels.push(tunnel);
    return tunnel;
  }

  get databasePath(): string {
    return join(this.state.path, DATABASE_FILE);
  }

  /** The connection of somebody else to the database. */
  get outside(): DatabaseSync {
    this.#outside ??= new DatabaseSync(this.databasePath, { timeout: 5_000 });
    return this.#outside;
  }

  /** Closes the windows, and leaves server and state as they are. */
  async closeTunnels(): Promise<void> {
    for (const tunnel of this.#tunnels.splice(0)) await tunnel.close();
  }

  async close(): Promise<void> {
    this.#outside?.close();
    await this.closeTunnels();
    await this.server.stop();
    keepText('log', this.log.lines.join('\n'));
    this.state.remove();
  }
}

/** A scene whose server listens. */
export async function newScene(): Promise<Scene> {
  const scene = new Scene();
  await scene.server.start();
  return scene;
}

/** Calls on the record, oldest first, each with its intent and, where there is one, its outcome. */
export function callsOn(tunnel: HeadlessTunnel): { readonly intent: Intent; readonly outcome: Outcome | undefined }[] {
  return tunnel.core.audit.activities({ limit: 10_000 }).reverse();
}

/** The newest call on the record. */
export function lastCall(tunnel: HeadlessTunnel): { readonly intent: Intent; readonly outcome: Outcome | undefined } {
  const call = callsOn(tunnel).at(-1);
  if (!call) throw new Error('Nothing is on the record.');
  return call;
}

/** Everything on the record as text. */
export function recordText(tunnel: HeadlessTunnel): string {
  return JSON.stringify(tunnel.core.audit.entries({ limit: 100_000 }) satisfies Entry[]);
}

/** Resolves once `appended` entries more than now are on this window's record. */
export function recorded(tunnel: HeadlessTunnel, is: () => boolean): Promise<void> {
  if (is()) return Promise.resolve();
  return new Promise((resolve) => {
    const subscription = tunnel.core.audit.onDidAppend(() => {
      if (!is()) return;
      subscription.dispose();
      resolve();
    });
  });
}
