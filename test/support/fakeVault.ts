import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { noteSecret } from './noted.ts';

/** A request as it came in. */
export interface VaultSeen {
  readonly method: string;
  readonly path: string;
  readonly token: string | undefined;
  readonly namespace: string | undefined;
  readonly body: Record<string, unknown>;
}

/**
 * A server that answers as the documentation of HashiCorp Vault's and OpenBao's HTTP API says, since neither is in Debian: token and
 * AppRole login, KV version 2, dynamic secrets with leases, renewal, revocation, namespaces. It keeps no policies: a token may all or
 * nothing.
 */
export class FakeVault {
  readonly seen: VaultSeen[] = [];
  readonly tokens = new Set<string>();
  readonly roles = new Map<string, string>();
  /** Data of KV version 2 by `mount/path`. */
  readonly kv = new Map<string, Record<string, unknown>>();
  /** Open leases: id to what was given. */
  readonly leases = new Map<string, string>();
  namespace: string | undefined;
  sealed = false;
  leaseSeconds = 60;
  tokenSeconds = 600;
  renewable = true;
  readonly #http: http.Server | https.Server;
  readonly #scheme: string;
  #count = 0;
  readonly #waiting: (() => void)[] = [];

  /** With a certificate it speaks HTTPS. */
  constructor(certificate?: { readonly key: string; readonly cert: string }) {
    this.#scheme = certificate ? 'https' : 'http';
    const take = (request: IncomingMessage, response: ServerResponse) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const text = Buffer.concat(parts).toString('utf8');
        const { headers } = request;
        const seen: VaultSeen = {
          method: request.method ?? '',
          path: new URL(request.url ?? '', 'http://x').pathname.replace(/^\/v1\//, ''),
          token: headers['x-vault-token'] as string | undefined,
          namespace: headers['x-vault-namespace'] as string | undefined,
          body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
        };
        this.seen.push(seen);
        for (const waiting of this.#waiting.splice(0)) waiting();
        this.#answer(seen, response);
      });
    };
    this.#http = certificate ? https.createServer(certificate, take) : http.createServer(take);
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#http.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get address(): string {
    return `${this.#scheme}://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** Resolves once a request for `path` has come in. */
  async asked(path: string): Promise<void> {
    while (!this.seen.some((seen) => seen.path === path)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async stop(): Promise<void> {
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  #answer({ method, path, token, namespace, body }: VaultSeen, response: ServerResponse): void {
    const say = (status: number, data: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(data === undefined ? '' : JSON.stringify(data));
    if (this.sealed) return void say(503, { errors: ['Vault is sealed'] });
    if (namespace !== this.namespace) return void say(404, { errors: ['no handler for route'] });
    const login = /^auth\/([^/]+)\/login$/.exec(path);
    if (login && method === 'POST') {
      if (this.roles.get(String(body['role_id'])) !== body['secret_id']) return void say(400, { errors: ['invalid role or secret ID'] });
      const made = `hvs-${login[1]}-${++this.#count}-${'t'.repeat(16)}`;
      this.tokens.add(noteSecret(made));
      return void say(200, { auth: { client_token: made, lease_duration: this.tokenSeconds, renewable: true } });
    }
    if (token === undefined || !this.tokens.has(token)) return void say(403, { errors: ['permission denied'] });
    if (path === 'auth/token/lookup-self') return void say(200, { data: { ttl: this.tokenSeconds, policies: ['default', 'reader'] } });
    if (path === 'auth/token/renew-self')
      return void say(200, { auth: { client_token: token, lease_duration: this.tokenSeconds, renewable: true } });
    if (path === 'auth/token/revoke-self') {
      this.tokens.delete(token);
      return void response.writeHead(204).end();
    }
    if (path === 'sys/leases/renew') {
      const id = String(body['lease_id']);
      if (!this.leases.has(id)) return void say(400, { errors: ['lease not found'] });
      return void say(200, { lease_id: id, lease_duration: this.leaseSeconds, renewable: this.renewable });
    }
    if (path === 'sys/leases/revoke') {
      this.leases.delete(String(body['lease_id']));
      return void response.writeHead(204).end();
    }
    const kv = /^([^/]+)\/data\/(.+)$/.exec(path);
    if (kv && method === 'GET') {
      const data = this.kv.get(`${kv[1]}/${kv[2]}`);
      if (!data) return void say(404, { errors: [] });
      for (const value of Object.values(data)) if (typeof value === 'string') noteSecret(value);
      return void say(200, { data: { data, metadata: { version: 3 } } });
    }
    if (path.includes('/creds/') && method === 'GET') {
      const n = ++this.#count;
      const password = `made-for-lease-${n}-${'p'.repeat(12)}`;
      this.leases.set(`${path}/${n}`, noteSecret(password));
      return void say(200, {
        lease_id: `${path}/${n}`,
        lease_duration: this.leaseSeconds,
        renewable: this.renewable,
        data: { username: `v-user-${n}`, password },
      });
    }
    say(404, { errors: [] });
  }
}
