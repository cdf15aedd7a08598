import type { Credential } from '../credentials/credential.ts';
import { fillPlaceholders, mayHoldPlaceholder, type ArgumentValue } from '../credentials/arguments.ts';
import { inject, isSigned, sign } from '../credentials/injection.ts';
import { CredentialError, type Refused, type Resolved } from '../credentials/source.ts';
import { sourceKindOf } from '../credentials/sources.ts';
import type { Edit } from '../mcp/json.ts';
import { bindingOf, type UpstreamPlace } from '../mcp/server.ts';
import type { SentRequest, UpstreamRequest, UpstreamResponse } from '../upstream/upstream.ts';
import { ENDED, denied, notForwarded, type Answer } from './answers.ts';
import type { Core } from './core.ts';
import { handOver } from './handing.ts';
import type { Passage } from './passage.ts';

const NO_URL = new URL('stdio:');

/** A credential as it stands on a request. */
export interface Carried {
  readonly credential: Credential;
  readonly resolved: Resolved;
}

/** A request to the server with everything that its credentials add. Never logged. */
export interface Outgoing extends Pick<UpstreamRequest, 'url' | 'headers' | 'environment'> {
  readonly carried: readonly Carried[];
  /** What is changed in the body: placeholders that become values. */
  readonly edits: readonly Edit[];
  /** What it was before credentials were put on it, to begin anew from. */
  readonly bare: Readonly<Record<string, string | string[]>>;
}

/**
 * Puts the credentials of the server on a request. `bare` are its headers so far. Waits only for values that are not known yet; gives an
 * answer if one can't be had: the request is not sent then.
 */
export function addCredentials(
  x: Passage,
  core: Core,
  bare: Readonly<Record<string, string | string[]>>,
): Promise<Answer | undefined> | Answer | undefined {
  return addFrom(x, core, bare, []);
}

/** Goes on behind the credentials that are `carried` already. */
function addFrom(x: Passage, core: Core, bare: Outgoing['bare'], carried: Carried[]): Promise<Answer | undefined> | Answer | undefined {
  const { server } = x;
  const binding = bindingOf(server.upstream);
  const url = urlOf(server.upstream);
  for (const id of server.credentials.slice(carried.length)) {
    const credential = core.credentials.recent(id);
    if (!credential)
      return notForwarded(x, 502, `A credential of ${server.label} is missing. The user can add it again with “Culvert: Edit Server…”.`);
    const take = (resolved: Resolved) => {
      carried.push({ credential, resolved });
      core.credentials.used(id);
    };
    try {
      const given = core.sources.resolve(credential, binding, url);
      if (given instanceof Promise)
        return orLeave(x, given).then(
          (resolved) => {
            take(resolved);
            return addFrom(x, core, bare, carried);
          },
          (error: unknown) => failed(x, credential, error),
        );
      take(given);
    } catch (error) {
      return failed(x, credential, error);
    }
  }
  return place(x, core, url, bare, carried);
}

/** Whether a refusal may be for want of another credential (RFC 6750, 3.1). */
export function mayRenew({ status }: UpstreamResponse): boolean {
  return status === 401 || status === 403;
}

/**
 * After the server refused what was sent (401, or 403 for want of a scope; RFC 6750, 3.1): gets other values where their sources have some.
 * `again`: the request now carries another value and may be sent once more. An answer: a source failed, and said why.
 */
export async function renewCredentials(x: Passage, core: Core, response: UpstreamResponse): Promise<Answer | 'again' | undefined> {
  const { outgoing, server } = x;
  const { status } = response;
  const challenge = response.headers['www-authenticate'] ?? '';
  if (!outgoing || (status !== 401 && status !== 403) || (status === 403 && !/insufficient_scope/i.test(challenge))) return undefined;
  const binding = bindingOf(server.upstream);
  const nonce = response.headers['dpop-nonce'];
  const refused: Refused = {
    status,
    wwwAuthenticate: challenge === '' ? undefined : challenge,
    ...(typeof nonce === 'string' ? { dpopNonce: nonce } : {}),
  };
  let renewed = false;
  const carried: Carried[] = [];
  for (const { credential, resolved } of outgoing.carried) {
    // Replaced or forgotten while the call was away.
    const now = core.credentials.get(credential.id);
    if (!now) return undefined;
    try {
      const ask = core.sources.afterRefusal(now, binding, urlOf(server.upstream), { ...refused, revision: resolved.revision });
      const other = await orLeave(x, ask);
      if (other) renewed = true;
      carried.push({ credential: now, resolved: other ?? resolved });
    } catch (error) {
      return failed(x, now, error);
    }
  }
  if (!renewed) return undefined;
  return place(x, core, urlOf(server.upstream), outgoing.bare, carried) ?? 'again';
}

/**
 * What goes out: the request with its credentials, signed, and with proofs of possession where a source makes them; a promise only where it
 * does. Signed and proven anew for where the server redirects within its origin, and for each request of a transport’s own.
 */
export function finish(x: Passage, core: Core, body: Buffer | undefined, now: () => number): Promise<UpstreamRequest> | UpstreamRequest {
  const { outgoing } = x;
  if (!outgoing) throw new Error('The request was not prepared.');
  const { url, environment } = outgoing;
  const prepared: UpstreamRequest = {
    method: x.httpMethod,
    url,
    headers: outgoing.headers,
    ...(environment ? { environment } : {}),
    body,
    signal: x.end.signal,
  };
  // Most credentials stand where they stand, whatever the request.
  if (!outgoing.carried.some(({ credential }) => isMadeAnew(credential, core))) return prepared;
  const headersFor = (sent: SentRequest) => headersOf(sent, outgoing, x, core, now());
  return headersFor(prepared).then((headers) => ({ ...prepared, headers, headersFor }));
}

/** Whether what goes along depends on the request. */
function isMadeAnew(credential: Credential, core: Core): boolean {
  return isSigned(credential.placement) || core.sources.sourceOf(credential).prove !== undefined;
}

/** The headers of a request as it goes out, with what holds for this one alone. */
async function headersOf(sent: SentRequest, { carried }: Outgoing, x: Passage, core: Core, now: number): Promise<Outgoing['headers']> {
  const { method, url, body } = sent;
  let { headers } = sent;
  for (const { credential, resolved } of carried) {
    const signed = sign(credential.placement, resolved, { method, url, headers, body }, now);
    if (signed) headers = { ...headers, ...signed };
    const source = core.sources.sourceOf(credential);
    if (!source.prove) continue;
    const ask = { credential, binding: bindingOf(x.server.upstream), url, signal: new AbortController().signal };
    headers = { ...headers, ...(await source.prove(ask, { method, url, body, resolved })) };
  }
  return headers;
}

/** Notes what the server made of the credentials, for showing. */
export function noteVerdict(x: Passage, core: Core, status: number): void {
  for (const { credential } of x.outgoing?.carried ?? []) {
    if (status === 401 || status === 403)
      core.sources.noteHealth(credential.id, {
        state: 'invalid',
        step: 'server',
        detail: `${x.server.label} refused it (HTTP ${status}).`,
      });
    else if (status < 300) core.sources.noteTaken(credential.id);
  }
}

/** Puts values on a request. An answer: a placeholder stands where its credential may not go. */
function place(x: Passage, core: Core, url: URL, bare: Outgoing['bare'], carried: readonly Carried[]): Answer | undefined {
  const headers = { ...bare };
  const environment: Record<string, string> = {};
  const cookies: string[] = [];
  let at = url;
  for (const { credential, resolved } of carried) {
    if (resolved.nothing) continue;
    const injected = inject(at, credential.placement, resolved.secret, resolved.parts);
    at = injected.url;
    Object.assign(headers, injected.headers);
    if (injected.environment) Object.assign(environment, injected.environment);
    if (injected.cookie !== undefined) cookies.push(injected.cookie);
  }
  if (cookies.length > 0) headers['cookie'] = cookies.join('; ');
  const edits = placeInArguments(x, core, carried);
  if ('status' in edits) return edits;
  const handed = handOver(x, core);
  if (typeof handed === 'string') return denied(x, handed);
  x.outgoing = { url: at, headers, environment, bare, carried, edits: handed.length === 0 ? edits : [...edits, ...handed] };
  return undefined;
}

const NO_EDITS: readonly Edit[] = [];

function placeInArguments(x: Passage, core: Core, carried: readonly Carried[]): readonly Edit[] | Answer {
  const { message } = x;
  if (message?.arguments === undefined || message.method !== 'tools/call' || !mayHoldPlaceholder(message.bytes)) return NO_EDITS;
  const values = carried.flatMap(({ credential: { placement }, resolved }): ArgumentValue[] =>
    placement.kind === 'argument' ? [{ placement, secret: resolved.secret }] : [],
  );
  const { edits, misplaced } = fillPlaceholders(message.bytes, message.arguments, message.name ?? '', values);
  // What looks like one but is nobody's is text of the agent.
  const wrong = misplaced.find(({ placeholder }) =>
    core.credentials.list().some(({ placement }) => placement.kind === 'argument' && placement.placeholder === placeholder),
  );
  if (!wrong) return edits;
  return denied(
    x,
    `The placeholder \${culvert:${wrong.placeholder}} may not stand in ${wrong.argument.slice(1)} of ${message.name ?? 'this tool'}: the user bound its credential to other places. Leave it out there.`,
  );
}

/** A call that is given up does not wait for its credential. */
function orLeave<T>(x: Passage, work: Promise<T>): Promise<T> {
  const { signal } = x.end;
  return new Promise((resolve, reject) => {
    const stop = () => reject(new CredentialError('CULVERT_CREDENTIAL_ABORTED', 'source', 'The call was given up.'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

function failed(x: Passage, credential: Credential, error: unknown): Answer {
  if (!(error instanceof CredentialError)) throw error;
  if (x.end.signal.aborted) return { ...notForwarded(x, 200, ENDED), result: x.gone.aborted ? 'cancelled' : 'closed' };
  if (error.code === 'CULVERT_CREDENTIAL_ORIGIN')
    return notForwarded(
      x,
      502,
      `The credential “${credential.name}” is not bound to ${describeBinding(x.server.upstream)}, so it was not sent. The user can bind it with “Culvert: Edit Server…”.`,
    );
  const own = sourceKindOf(credential) === 'sealed';
  return notForwarded(x, 502, own ? error.forAgent : `${x.server.label} was not called: ${error.forAgent}`);
}

const urls = new WeakMap<UpstreamPlace, URL>();

/** The parsed address of a place; nobody changes it. */
function urlOf(place: UpstreamPlace): URL {
  if (place.kind === 'stdio') return NO_URL;
  let url = urls.get(place);
  if (!url) urls.set(place, (url = new URL(place.url)));
  return url;
}

/** Where a credential is bound to, in words. */
function describeBinding(place: UpstreamPlace): string {
  return place.kind === 'stdio' ? 'this command' : bindingOf(place);
}
