import type { UpstreamError } from '../common/errors.ts';
import type { UpstreamRequest, UpstreamResponse } from './upstream.ts';

/** Two-way way to a server that carries whole JSON-RPC messages and knows nothing of requests and answers. */
export interface MessageChannel {
  /**
   * Hands a message over, in order. Resolves once the server's side took it, with its response where it refused: a status from 400 up.
   * `request` is where the message came from: its URL and headers hold the credential; without it those count that opened the channel.
   * Throws UpstreamError.
   */
  send(message: Buffer, request?: UpstreamRequest): Promise<UpstreamResponse | undefined>;
  /** Stops reading: nobody takes what the server sends. */
  pause(): void;
  resume(): void;
  /** Ends the channel and whatever is behind it; resolves once nothing is left. `closed` is not told. */
  close(): Promise<void>;
}

/** Who reads a channel. */
export interface ChannelReader {
  /** A message came. Returns `false` if it is none. */
  message(bytes: Buffer): boolean;
  /** The channel ended by itself. Told once, and nothing after it. */
  closed(error: UpstreamError): void;
}

/** A channel, or the response with which the server refused to open one. */
export type Opened = { readonly channel: MessageChannel } | { readonly refused: UpstreamResponse };

/** Opens a channel for a request, with its credential. Throws UpstreamError. */
export type OpenChannel = (request: UpstreamRequest, reader: ChannelReader) => Promise<Opened>;
