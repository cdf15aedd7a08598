import type { IncomingHttpHeaders } from 'node:http';
import type { Disposable } from '../common/disposable.ts';
import type { StopSignal } from '../common/stop.ts';
import type { Body } from './body.ts';

/**
 * A request to the server, credentials included, in the terms of Streamable HTTP whatever the server speaks. Nothing may log it.
 */
export interface UpstreamRequest {
  readonly method: 'POST' | 'GET' | 'DELETE';
  /** Endpoint; for a command `stdio:`, and not looked at. */
  readonly url: URL;
  /** For transports without headers only `mcp-session-id`, `mcp-protocol-version` and `last-event-id` mean something. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** Exactly one JSON-RPC message with POST, else `undefined`. */
  readonly body: Buffer | undefined;
  /** Ends the request and its response. */
  readonly signal: StopSignal;
  /**
   * The headers that go out with `sent` in place of this request, where a signature or a proof of possession holds for one request alone;
   * absent where headers stand whatever is sent. Asked with every redirect that is followed, and by transports that send requests of their
   * own, all to the same origin.
   */
  readonly headersFor?: (sent: SentRequest) => Promise<UpstreamRequest['headers']> | UpstreamRequest['headers'];
  /** Secrets for the environment of a command. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** What a signature and a proof of possession are made over. */
export type SentRequest = Pick<UpstreamRequest, 'method' | 'url' | 'headers' | 'body'>;

/** What came back. A transport without HTTP answers as a Streamable HTTP server would. */
export interface UpstreamResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body, decoded if it came compressed. */
  readonly body: Body;
}

/** The way to one server. */
export interface Upstream extends Disposable {
  /** Sends a request and resolves with the head of the response. Throws UpstreamError. */
  send(request: UpstreamRequest): Promise<UpstreamResponse>;
  /** Resolves once nothing is left of what was disposed: processes that were told to end, connections. */
  settled?(): Promise<void>;
}
