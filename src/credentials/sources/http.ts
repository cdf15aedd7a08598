/** A request of a source to a service of its own. Never logged. */
export interface SourceRequest {
  readonly method: 'GET' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Certificates (PEM) of authorities that are trusted beside the system’s. */
  readonly authorities?: string;
  readonly signal: AbortSignal;
}

/** What came back, whole and bounded. */
export interface SourceResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Port: how sources speak HTTP: through the user's proxies, with TLS checked, never redirected to another origin. Throws UpstreamError. */
export type SourceHttp = (request: SourceRequest) => Promise<SourceResponse>;
