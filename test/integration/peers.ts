import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2, type ClientCapabilities } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { fetchThrough } from '../support/agent.ts';

/** Where the SDKs believe to connect to: `fetch` leads into the tunnel. */
const NOWHERE = new URL('http://localhost/mcp');

type Json = Record<string, unknown>;
const anything = z.looseObject({});

/** What servers ask, and what they tell. */
export type Asked = 'sampling/createMessage' | 'elicitation/create' | 'roots/list';
export type Told =
  'notifications/message' | 'notifications/resources/updated' | 'notifications/resources/list_changed' | 'notifications/tools/list_changed';

/** A client of one of the SDKs, used in the same way whichever it is. */
export interface Peer {
  /** Sends a request; the result is as it came. */
  request(
    method: string,
    params?: Json,
    options?: { onprogress?: (progress: unknown) => void; signal?: AbortSignal },
  ): Promise<Record<string, never> & Json>;
  notify(method: 'notifications/roots/list_changed'): Promise<void>;
  onRequest(method: Asked, answer: (params: Json) => Json): void;
  /** Resolves with the params of the next such notification that `wanted` accepts. */
  next(method: Told, wanted?: (params: Json) => boolean): Promise<Json>;
  /** Ends the session at the server. */
  terminate(): Promise<void>;
  close(): Promise<void>;
}

const REQUESTS_V1 = {
  'sampling/createMessage': CreateMessageRequestSchema,
  'elicitation/create': ElicitRequestSchema,
  'roots/list': ListRootsRequestSchema,
};
const NOTIFICATIONS_V1 = {
  'notifications/message': LoggingMessageNotificationSchema,
  'notifications/resources/updated': ResourceUpdatedNotificationSchema,
  'notifications/resources/list_changed': ResourceListChangedNotificationSchema,
  'notifications/tools/list_changed': ToolListChangedNotificationSchema,
};

/** Keeps who waits for which notification. */
class Listeners {
  readonly #waiting: { readonly method: Told; readonly wanted: (params: Json) => boolean; readonly resolve: (params: Json) => void }[] = [];

  next(method: Told, wanted: (params: Json) => boolean = () => true): Promise<Json> {
    return new Promise((resolve) => this.#waiting.push({ method, wanted, resolve }));
  }

  arrived(method: Told, params: Json): void {
    for (const waiting of this.#waiting.filter((w) => w.method === method && w.wanted(params))) {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      waiting.resolve(params);
    }
  }
}

const TOLD = Object.keys(NOTIFICATIONS_V1) as Told[];

/** A client of SDK v1. */
export async function peerV1(door: HeadlessTunnel, capabilities: ClientCapabilities): Promise<Peer> {
  const client = new ClientV1({ name: 'v1', version: '1' }, { capabilities: capabilities });
  const transport = new TransportV1(NOWHERE, { fetch: fetchThrough(door) });
  const listeners = new Listeners();
  for (const method of TOLD)
    client.setNotificationHandler(NOTIFICATIONS_V1[method], (told: { params?: unknown }) =>
      listeners.arrived(method, (told.params ?? {}) as Json),
    );
  await client.connect(transport);
  return {
    request: (method, params, options) =>
      client.request({ method, ...(params && { params }) }, anything, options) as ReturnType<Peer['request']>,
    notify: (method) => client.notification({ method }),
    onRequest: (method, answer) =>
      client.setRequestHandler(REQUESTS_V1[method], (request: { params?: unknown }) => answer((request.params ?? {}) as Json) as never),
    next: (method, wanted) => listeners.next(method, wanted),
    terminate: () => transport.terminateSession(),
    close: () => client.close(),
  };
}

/** A client of SDK v2, in the era that it agrees on with the server. */
export async function peerV2(
  door: HeadlessTunnel,
  capabilities: ClientCapabilities,
  modern = false,
): Promise<Peer & { readonly client: ClientV2 }> {
  const client = new ClientV2(
    { name: 'v2', version: '1' },
    { capabilities, ...(modern && { versionNegotiation: { mode: 'auto' as const } }) },
  );
  const transport = new TransportV2(NOWHERE, { fetch: fetchThrough(door) });
  const listeners = new Listeners();
  for (const method of TOLD)
    client.setNotificationHandler(method, (told) => listeners.arrived(method, ((told as Json)['params'] ?? {}) as Json));
  await client.connect(transport);
  return {
    client,
    request: (method, params, options) =>
      client.request({ method, ...(params && { params }) }, anything, options) as ReturnType<Peer['request']>,
    notify: (method) => client.notification({ method }),
    onRequest: (method, answer) =>
      client.setRequestHandler(method, (request) => answer(((request as Json)['params'] ?? {}) as Json) as never),
    next: (method, wanted) => listeners.next(method, wanted),
    terminate: () => transport.terminateSession(),
    close: () => client.close(),
  };
}
