import * as vscode from 'vscode';
import { systemClock } from '../../common/clock.ts';
import type { Logger } from '../../common/logger.ts';
import type { Placement } from '../../credentials/credential.ts';
import { inject, sign, type Value } from '../../credentials/injection.ts';
import { CredentialError } from '../../credentials/source.ts';
import { describeSource } from '../../credentials/sources/describe.ts';
import { plainHeadersOf, type UpstreamPlace } from '../../mcp/server.ts';
import { openUpstream } from '../../upstream/open.ts';
import type { Probe } from '../../upstream/probe.ts';
import type { SentRequest, Upstream } from '../../upstream/upstream.ts';
import { settings } from '../adapters.ts';
import type { App } from '../app.ts';
import { confirmPlace } from './commandConfirmation.ts';
import { placementOf, type Draft } from './serverDraft.ts';
import { trialValue } from './sourceDialog.ts';
import type { SourceDraft } from './sourceSteps.ts';

/** A credential's value and where it is put, for a trial. */
export interface TrialCredential extends Value {
  readonly placement: Placement;
  /** Headers that prove possession, for every single request. */
  readonly prove?: (method: string, url: URL) => Promise<Record<string, string>> | Record<string, string>;
}

/** Tries what a draft describes, with progress that can be cancelled. `declined`: it is a command, and the user would not have it started. */
export async function tryDraft(app: App, draft: Draft, signedIn: readonly TrialCredential[] = []): Promise<Probe | 'declined'> {
  const { logger } = app;
  const place = await confirmPlace(draft);
  if (!place) return 'declined';
  const placement = placementOf(draft);
  let credentials: readonly TrialCredential[] = draft.authentication === 'sign-in' ? signedIn : [];
  if (placement && draft.secret && draft.elsewhere !== true) credentials = [{ placement, secret: draft.secret }];
  if (placement && draft.elsewhere === true && draft.source) {
    const given = await askWithProgress(app, placement, place, draft.source);
    if (typeof given === 'string') return { ok: false, what: 'credential', message: given };
    credentials = [{ placement, ...given }];
  }
  const result = await tryServer(draft.label ?? '', place, credentials, logger);
  if (result.ok || place.kind !== 'http' || (result.what !== 'url' && result.what !== 'not-mcp')) return result;
  const older = await tryServer(draft.label ?? '', { ...place, kind: 'sse' }, credentials, logger);
  if (older.ok) draft.transport = 'sse';
  // What the newer transport said is what most people can use.
  return older.ok ? older : result;
}

/** Asks a source, with progress that can be cancelled; a text says why there is nothing. */
function askWithProgress(app: App, placement: Placement, place: UpstreamPlace, source: SourceDraft): Thenable<Value | string> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: `Culvert: asking the ${describeSource(source.spec)}…`, cancellable: true },
    async (_progress, token) => {
      const stop = new AbortController();
      const subscription = token.onCancellationRequested(() => stop.abort());
      try {
        return await trialValue(app, placement, place, source, stop.signal);
      } catch (error) {
        if (error instanceof CredentialError) return error.message;
        throw error;
      } finally {
        subscription.dispose();
      }
    },
  );
}

/** Tries a server with its credentials, with progress that can be cancelled. */
export function tryServer(label: string, place: UpstreamPlace, credentials: readonly TrialCredential[], logger: Logger): Promise<Probe> {
  return Promise.resolve(
    vscode.window.withProgress(
      { location: vscode.ProgressLocation.Notification, title: `Culvert: trying ${label}…`, cancellable: true },
      async (_progress, token) => {
        const stop = new AbortController();
        const subscription = token.onCancellationRequested(() => stop.abort());
        const upstream = openUpstream(
          { label, upstream: place },
          {
            proxies: settings.proxies(),
            logger,
            clock: systemClock,
            clientKey: () => Promise.resolve(credentials.find((c) => c.placement.kind === 'client-key')?.secret),
            redact: (text) => credentials.reduce((shown, { secret }) => shown.replaceAll(secret.expose(), '[redacted]'), text),
          },
        );
        try {
          let url = place.kind === 'stdio' ? new URL('stdio:') : new URL(place.url);
          const headers: Record<string, string> = { ...plainHeadersOf(place) };
          const environment: Record<string, string> = {};
          const cookies: string[] = [];
          for (const { placement, secret, parts } of credentials) {
            const injected = inject(url, placement, secret, parts);
            url = injected.url;
            Object.assign(headers, injected.headers);
            Object.assign(environment, injected.environment);
            if (injected.cookie !== undefined) cookies.push(injected.cookie);
          }
          if (cookies.length > 0) headers['cookie'] = cookies.join('; ');
          const { probe } = await import('../../upstream/probe.ts');
          return await probe(proving(upstream, credentials), url, headers, stop.signal, { environment });
        } finally {
          subscription.dispose();
          upstream.dispose();
        }
      },
    ),
  );
}

/** The same way to a server, with signatures and proofs of possession on each request, for the URL that it goes to. */
function proving(upstream: Upstream, credentials: readonly TrialCredential[]): Upstream {
  return {
    send: async (request) => {
      const headersFor = async (sent: SentRequest) => {
        const headers = { ...sent.headers };
        for (const { placement, prove, ...value } of credentials) {
          Object.assign(headers, sign(placement, value, sent, Date.now()));
          Object.assign(headers, await prove?.(sent.method, sent.url));
        }
        return headers;
      };
      return upstream.send({ ...request, headers: await headersFor(request), headersFor });
    },
    dispose: () => upstream.dispose(),
  };
}
