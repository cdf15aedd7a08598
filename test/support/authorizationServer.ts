import { createHash, generateKeyPairSync } from 'node:crypto';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { errors, Provider, type ClientMetadata, type Configuration } from 'oidc-provider';
import { noteSecret } from './noted.ts';

/** Scopes that the protected server knows. */
export const SCOPES = ['mcp:read', 'mcp:write'] as const;

/** What a test sets. */
export interface AuthorizationServerOptions {
  /** Life of access tokens, seconds. Default: an hour. */
  readonly accessTokenSeconds?: number;
  readonly clients?: readonly ClientMetadata[];
  readonly dpop?: 'none' | 'nonce' | 'plain';
  readonly registration?: boolean;
  /** Scopes that a token for the resource may hold. Default: {@link SCOPES}. */
  readonly resourceScopes?: readonly string[];
  /** Client metadata documents by URL, where the whole Internet would have them. Switches the feature on. */
  readonly documents?: Readonly<Record<string, unknown>>;
  /** Address of this machine to listen at. Default: 127.0.0.1. */
  readonly host?: string;
  /** Show the pages of a real provider for signing in and consenting, for a real browser. */
  readonly pages?: boolean;
  readonly configuration?: Partial<Configuration>;
}

/** A request that came in at the authorization server. */
export interface AskedFor {
  readonly method: string;
  readonly path: string;
  readonly body: URLSearchParams;
  readonly headers: http.IncomingHttpHeaders;
  readonly query: URLSearchParams;
}

/**
 * `oidc-provider`, an authorization server as people run it, on loopback, and an MCP server that takes its tokens (RFC 9728). Refresh tokens
 * rotate, and one that is used twice ends its family.
 */
export class AuthorizationServer {
  readonly asked: AskedFor[] = [];
  /** Families that were ended because a token was used twice. */
  revokedFamilies = 0;
  /** Tokens that were given. */
  readonly given: string[] = [];
  /** Who signs in next, without pages. */
  account = 'ada';
  /** Answers in place of the provider: true if it did. Called with the whole body. */
  intercept: ((request: AskedFor, response: ServerResponse) => boolean | Promise<boolean>) | undefined;
  /** Called with the whole answer of the provider before it goes out; whatever it waits for holds the answer up. */
  beforeAnswer: ((request: AskedFor, status: number) => Promise<void> | void) | undefined;
  readonly #server: http.Server;
  #provider: Provider | undefined;
  #handle: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;

  private constructor(server: http.Server) {
    this.#server = server;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => void this.#answer(request, response));
  }

  static async start(resource: () => string, options: AuthorizationServerOptions = {}): Promise<AuthorizationServer> {
    const server = http.createServer();
    await new Promise<void>((resolve) => server.listen(0, options.host ?? '127.0.0.1', resolve));
    const self = new AuthorizationServer(server);
    self.#provider = self.#configure(resource, options);
    const handle = self.#provider.callback();
    self.#handle = (request, response) => void handle(request, response);
    return self;
  }

  get issuer(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  get provider(): Provider {
    if (!this.#provider) throw new Error('The provider is not started.');
    return this.#provider;
  }

  /** Requests to the token endpoint with this grant. */
  tokenRequests(grant: string): AskedFor[] {
    return this.asked.filter(({ path, body }) => path === '/token' && body.get('grant_type') === grant);
  }

  /** What a token is good for; `undefined` if it is not, or is bound to a key that the request does not prove. */
  async find(
    token: string,
    resource: string,
  ): Promise<{ readonly scopes: string[]; readonly account: string | undefined; readonly jkt: string | undefined } | undefined> {
    const found = (await this.provider.AccessToken.find(token)) ?? (await this.provider.ClientCredentials.find(token));
    if (!found?.isValid || !new Set([found.aud].flat()).has(resource)) return undefined;
    const jkt = (found as { jkt?: string }).jkt;
    const account = 'accountId' in found ? found.accountId : undefined;
    return { scopes: (found.scope ?? '').split(' '), account, jkt };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /**
   * What a browser does when its user signs in and consents at once: follows the pages to the callback, and calls it. Returns what the
   * callback answered.
   */
  readonly browse = async (url: URL): Promise<void> => {
    const landed = await this.visit(url);
    if (landed === undefined) throw new Error('The browser did not get back to the callback.');
    await (await fetch(landed)).text();
  };

  /** The same, up to the callback’s URL. */
  async visit(start: URL): Promise<URL | undefined> {
    const cookies = new Map<string, string>();
    let url = start;
    for (let hop = 0; hop < 20; hop++) {
      if (url.origin !== this.issuer) return url;
      const response = await fetch(url, {
        redirect: 'manual',
        headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      });
      for (const cookie of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
        cookies.set(name, value);
      }
      const text = await response.text();
      const next = response.headers.get('location');
      if (next === null)
        throw new Error(
          `The authorization server shows a page (${response.status}): ${text.replace(/<style[\s\S]*?<\/style>|<[^>]*>/g, ' ').replace(/\s+/g, ' ')}`,
        );
      url = new URL(next, url);
    }
    return undefined;
  }

  #configure(resource: () => string, options: AuthorizationServerOptions): Provider {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'test' };
    const provider = new Provider(this.issuer, {
      clients: [...(options.clients ?? [])],
      jwks: { keys: [key] },
      cookies: { keys: [createHash('sha256').update(this.issuer).digest('hex')] },
      scopes: ['openid', 'offline_access', ...SCOPES],
      claims: { openid: ['sub'], email: ['email'] },
      pkce: { required: () => true },
      rotateRefreshToken: true,
      issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
      findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.com` }) }),
      clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
      ttl: {
        AccessToken: options.accessTokenSeconds ?? 3600,
        ClientCredentials: options.accessTokenSeconds ?? 3600,
        RefreshToken: 86_400,
        Interaction: 3600,
        Session: 3600,
        Grant: 86_400,
        AuthorizationCode: 60,
        IdToken: 3600,
      },
      features: {
        devInteractions: { enabled: options.pages === true },
        registration: { enabled: options.registration !== false, initialAccessToken: false },
        revocation: { enabled: true },
        ...(options.documents ? { clientIdMetadataDocument: { enabled: true, ack: 'draft-02' } } : {}),
        clientCredentials: { enabled: true },
        dPoP:
          options.dpop === 'nonce'
            ? { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true }
            : { enabled: options.dpop === 'plain' },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => resource(),
          useGrantedResource: () => true,
          getResourceServerInfo: (_context, indicator) => {
            if (indicator !== resource()) throw new errors.InvalidTarget();
            return {
              scope: (options.resourceScopes ?? SCOPES).join(' '),
              audience: indicator,
              accessTokenFormat: 'opaque',
              accessTokenTTL: options.accessTokenSeconds ?? 3600,
            };
          },
        },
      },
      ...(options.documents ? { fetch: documentsOf(options.documents) } : {}),
      ...options.configuration,
      ...(options.pages === true ? {} : { interactions: { url: (_context, interaction) => `/decide/${interaction.uid}` } }),
    });
    provider.on('grant.revoked', () => {
      this.revokedFamilies++;
    });
    provider.on('access_token.saved', (token) => void this.given.push(noteSecret(token.jti)));
    provider.on('refresh_token.saved', (token) => void noteSecret(token.jti));
    provider.on('client_credentials.saved', (token) => void noteSecret(token.jti));
    for (const client of options.clients ?? []) noteSecret(client.client_secret);
    return provider;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const text = Buffer.concat(parts);
    const url = new URL(request.url ?? '/', this.issuer);
    const asked: AskedFor = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      body: new URLSearchParams(text.toString('utf8')),
      headers: request.headers,
    };
    this.asked.push(asked);
    try {
      if ((await this.intercept?.(asked, response)) === true) return;
      if (url.pathname.startsWith('/decide/')) await this.#decide(request, response);
      else this.#delegate(request, response, text, asked);
    } catch {
      response.writeHead(500).end();
    }
  }

  /** The provider reads the body that was read already, and its answer waits for {@link beforeAnswer}. */
  #delegate(request: IncomingMessage, response: ServerResponse, text: Buffer, asked: AskedFor): void {
    Object.assign(request, { body: text.toString('utf8') });
    const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
    if (this.beforeAnswer)
      response.end = ((...args: unknown[]) => {
        void Promise.resolve(this.beforeAnswer?.(asked, response.statusCode)).then(() => end(...args));
        return response;
      }) as typeof response.end;
    this.#handle?.(request, response);
  }

  /** Signs {@link account} in and grants whatever is asked for. */
  async #decide(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { provider } = this;
    const details = await provider.interactionDetails(request, response);
    const { params, prompt } = details;
    if (this.account === '') {
      await provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'no, thank you' });
      return;
    }
    if (prompt.name === 'login') {
      await provider.interactionFinished(request, response, { login: { accountId: this.account } });
      return;
    }
    const accountId = details.session?.accountId ?? this.account;
    const grant = new provider.Grant({ accountId, clientId: String(params['client_id']) });
    const scope = typeof params['scope'] === 'string' ? params['scope'] : '';
    grant.addOIDCScope(scope);
    grant.addResourceScope(String(params['resource']), scope);
    await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
  }
}

/** Stands in for the Internet from which the provider fetches metadata documents. */
function documentsOf(documents: Readonly<Record<string, unknown>>): typeof fetch {
  return (url) => {
    const document = documents[url instanceof Request ? url.url : String(url)];
    return Promise.resolve(document === undefined ? new Response(null, { status: 404 }) : Response.json(document));
  };
}
