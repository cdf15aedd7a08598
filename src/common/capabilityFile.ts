/**
 * The file from which a bridge learns where the tunnel of a window is and what it may say there.
 * Mode 0600 in `<runtime folder>/capabilities/`; the bridge gets only the file's stem on its command line.
 */
export interface CapabilityFile {
  readonly version: 1;
  /** Id of the server that the token opens. */
  readonly server: string;
  /** Unix socket or named pipe of the tunnel; absent if the tunnel listens on loopback TCP. */
  readonly socket?: string;
  /** `http://127.0.0.1:port`, only with the TCP fallback. */
  readonly url?: string;
  /** 256 random bits, base64url. */
  readonly token: string;
  /** Process id of the extension host that listens. */
  readonly pid: number;
  /** Id of the window. */
  readonly window: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}

/** Folder below the runtime folder that holds the capability files. */
export const CAPABILITY_FOLDER = 'capabilities';

/** Stem of the file that agents outside the editor use: one per server and window. */
export function sharedStem(server: string, window: string): string {
  return `${server}.${window}.shared`;
}

/** True for the stem of a shared capability of this server, whatever its window. */
export function isSharedStem(stem: string, server: string): boolean {
  return stem.startsWith(`${server}.`) && stem.endsWith('.shared');
}

/** Path on the tunnel at which a server's MCP endpoint lives. */
export function endpointPath(server: string): string {
  return `/servers/${server}/mcp`;
}
