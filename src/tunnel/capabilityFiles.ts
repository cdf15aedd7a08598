import type { Capabilities } from '../authentication/capabilities.ts';
import type { Clock } from '../common/clock.ts';
import type { Address } from '../listener/listener.ts';
import { removeCapabilityFile, writeCapabilityFile } from '../listener/runtime.ts';
import type { Principal } from '../mcp/principal.ts';

/** The capabilities that this window gave out, each with the file in which a bridge finds its token. */
export class CapabilityFiles {
  readonly #capabilities: Capabilities;
  readonly #folder: string;
  readonly #address: () => Address;
  readonly #clock: Clock;
  /** By id of the capability. */
  readonly #stems = new Map<string, string>();

  /** `folder` is the runtime folder; `address` says where the tunnel listens. */
  constructor(capabilities: Capabilities, folder: string, address: () => Address, clock: Clock) {
    this.#capabilities = capabilities;
    this.#folder = folder;
    this.#address = address;
    this.#clock = clock;
  }

  /** Makes a capability and writes its file; returns its token. */
  issue(principal: Principal, server: string, stem: string): string {
    const { capability, token } = this.#capabilities.issue(principal, server);
    const address = this.#address();
    writeCapabilityFile(this.#folder, stem, {
      version: 1,
      server,
      ...(address.kind === 'socket' ? { socket: address.path } : { url: `http://127.0.0.1:${address.port}` }),
      token,
      pid: process.pid,
      window: principal.window,
      createdAt: this.#clock.now(),
    });
    this.#stems.set(capability.id, stem);
    return token;
  }

  /** Puts another capability in the place of that with this stem; `replaced` is the id of the old one. `undefined` if there is none. */
  renew(stem: string): { readonly token: string; readonly replaced: string } | undefined {
    const id = [...this.#stems].findLast(([, of]) => of === stem)?.[0];
    const capability = id === undefined ? undefined : this.#capabilities.get(id);
    if (!capability) return undefined;
    this.#capabilities.revoke(capability.id);
    this.#stems.delete(capability.id);
    return { token: this.issue(capability.principal, capability.server, stem), replaced: capability.id };
  }

  /** Ends every capability of a server. Their files go away. */
  revokeServer(server: string): void {
    for (const id of this.#capabilities.revokeServer(server)) {
      const stem = this.#stems.get(id);
      if (stem !== undefined) removeCapabilityFile(this.#folder, stem);
      this.#stems.delete(id);
    }
  }

  /** Ids of the servers that there are files for. */
  servers(): ReadonlySet<string> {
    return new Set([...this.#stems.values()].map((stem) => stem.split('.', 1)[0] ?? ''));
  }

  /** Removes the files, so that nobody new finds the way. What was given out counts on. */
  remove(): void {
    for (const stem of this.#stems.values()) removeCapabilityFile(this.#folder, stem);
    this.#stems.clear();
  }
}
