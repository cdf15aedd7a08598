import type { Clock } from '../common/clock.ts';
import { DisposableStore, type Disposable } from '../common/disposable.ts';
import { UpstreamError } from '../common/errors.ts';
import { isLive } from '../authorization/grant.ts';
import type { Access } from '../authorization/access.ts';
import type { CredentialRegistry } from '../credentials/credentialRegistry.ts';
import type { Sources } from '../credentials/sources.ts';
import { CommandSource } from '../credentials/sources/command.ts';
import { EnvironmentSource } from '../credentials/sources/environment.ts';
import { FileSource } from '../credentials/sources/file.ts';
import { HashicorpVaultSource } from '../credentials/sources/hashicorpVault.ts';
import type { SourceHttp } from '../credentials/sources/http.ts';
import { KeyringSource } from '../credentials/sources/keyring.ts';
import { SealedSource } from '../credentials/sources/sealed.ts';
import { HttpUpstream } from '../upstream/httpUpstream.ts';
import type { ProxyEnvironment } from '../upstream/proxies.ts';
import type { ServerRegistry } from '../upstream/serverRegistry.ts';

/** Largest answer of a service that keeps secrets, bytes. */
const MAX_ANSWER_BYTES = 1024 * 1024;
/** How long its body may take, milliseconds. */
const ANSWER_MS = 15_000;
/** How long the end of a window waits for leases to be given back, milliseconds. */
const RELEASE_MS = 1_500;

/** What the sources are wired to. */
export interface SourceParts {
  readonly sources: Sources;
  readonly credentials: CredentialRegistry;
  readonly servers: ServerRegistry;
  readonly access: Access;
  readonly clock: Clock;
  readonly proxies: () => ProxyEnvironment;
}

/** Registers the sources that need no editor, and gives leases back when what they were for has ended. */
export function wireSources(parts: SourceParts): Disposable {
  const { sources, credentials, access, clock } = parts;
  const store = new DisposableStore();
  const { vault } = credentials;
  for (const source of [
    new SealedSource(vault),
    new EnvironmentSource(clock),
    new FileSource(clock),
    new CommandSource(clock),
    new KeyringSource(clock),
    new HashicorpVaultSource(vault, sourceHttp(parts.proxies, store), clock),
  ])
    store.add(sources.register(source));
  store.add(vault.onDidChange((id) => sources.drop(id)));
  const look = () => releaseEnded(parts);
  store.add(access.onDidChange(look));
  store.add(access.onDidExpire(look));
  return store;
}

/** Gives back what this window holds, at its end. */
export async function releaseAll({ sources, credentials, clock }: Pick<SourceParts, 'sources' | 'credentials' | 'clock'>): Promise<void> {
  const leased = credentials.list().filter(({ id, source }) => source?.kind === 'hashicorp-vault' && sources.held(id) !== undefined);
  if (leased.length === 0) return;
  const limit = new AbortController();
  const timer = clock.after(RELEASE_MS, () => limit.abort());
  await Promise.all(leased.map((credential) => sources.release(credential, limit.signal)));
  timer.dispose();
}

function releaseEnded({ sources, credentials, servers, access, clock }: SourceParts): void {
  for (const credential of credentials.list()) {
    const { source } = credential;
    if (source?.kind !== 'hashicorp-vault' || source.secret.engine !== 'dynamic' || sources.held(credential.id) === undefined) continue;
    const { endsWith } = source.secret;
    if (endsWith === 'window') continue;
    const goesOn = servers
      .list()
      .filter((server) => server.credentials.includes(credential.id))
      .some(({ id }) =>
        endsWith === 'task'
          ? access.tasks.for(id) !== undefined
          : access.forServer(id).some((grant) => grant.effect === 'allow' && isLive(grant, clock.now())),
      );
    if (!goesOn) void sources.release(credential, new AbortController().signal);
  }
}

/** HTTP of sources over the same connections, proxies and checks as that of servers. */
function sourceHttp(proxies: () => ProxyEnvironment, store: DisposableStore): SourceHttp {
  // One for each set of authorities: what is trusted for one address is not for the others.
  const ways = new Map<string, HttpUpstream>();
  return async ({ method, url, headers, body, authorities, signal }) => {
    const trusted = authorities === undefined ? '' : `${url.origin} ${authorities}`;
    let http = ways.get(trusted);
    if (!http) {
      http = store.add(new HttpUpstream({ proxies: proxies(), ...(authorities === undefined ? {} : { tls: { authorities } }) }));
      ways.set(trusted, http);
    }
    const response = await http.send({
      method,
      url,
      headers: { ...headers, 'accept-encoding': 'identity' },
      body: body === undefined ? undefined : Buffer.from(body, 'utf8'),
      signal,
    });
    const bytes = await response.body.collect(MAX_ANSWER_BYTES, { timeoutMs: ANSWER_MS });
    if (bytes === undefined)
      throw new UpstreamError('CULVERT_UPSTREAM_LARGE', 'response', `${url.host} answered with more than a secret should need.`);
    return { status: response.status, headers: response.headers, body: bytes.toString('utf8') };
  };
}
