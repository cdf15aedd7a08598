import type { HeadlessOptions, HeadlessTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall } from './agent.ts';
import { AuthorizationServer, type AuthorizationServerOptions } from './authorizationServer.ts';
import { answerJson, resultFor, type Behaviour } from './fakeServer.ts';
import { newScene, type Scene } from './tunnels.ts';

/** An MCP server that takes the tokens of a real authorization server. */
export class ProtectedScene {
  readonly scene: Scene;
  readonly issuer: AuthorizationServer;
  /** What the last accepted call was allowed and who made it. */
  seen: { readonly scopes: string[]; readonly account: string | undefined; readonly jkt: string | undefined } | undefined;
  /** Scope that calls of tools need. */
  needs = 'mcp:read';
  /** Authorization servers that it names, in place of the real one. */
  issuers: readonly string[] | undefined;
  /** What it says it is, in place of its URL. */
  resource: string | undefined;
  /** Whether it takes any token. */
  accepts = true;

  private constructor(scene: Scene, issuer: AuthorizationServer) {
    this.scene = scene;
    this.issuer = issuer;
    scene.server.behave = (seen, response, request) => void this.#answer(seen, response, request);
  }

  static async open(options: AuthorizationServerOptions = {}): Promise<ProtectedScene> {
    const scene = await newScene();
    return new ProtectedScene(scene, await AuthorizationServer.start(() => scene.server.url, options));
  }

  /** A tunnel that signs in as soon as it must. */
  tunnel(options: Partial<HeadlessOptions> = {}): Promise<HeadlessTunnel> {
    return this.scene.open({ signIn: { settings: { grant: 'code' } }, openBrowser: this.issuer.browse, ...options });
  }

  async close(): Promise<void> {
    await this.scene.close();
    await this.issuer.stop();
  }

  readonly #answer = async (...[seen, response]: Parameters<Behaviour>): Promise<void> => {
    const metadataUrl = `${this.scene.server.origin}/.well-known/oauth-protected-resource/mcp`;
    if (seen.url.startsWith('/.well-known/oauth-protected-resource/mcp')) {
      const metadata = {
        resource: this.resource ?? this.scene.server.url,
        authorization_servers: this.issuers ?? [this.issuer.issuer],
        scopes_supported: ['mcp:read'],
      };
      answerJson(response, JSON.stringify(metadata));
      return;
    }
    if (!seen.url.startsWith('/mcp')) {
      response.writeHead(404).end();
      return;
    }
    const [scheme = '', token = ''] = (seen.headers.authorization ?? '').split(' ');
    const found = this.accepts ? await this.issuer.find(token, this.scene.server.url) : undefined;
    const bound = found?.jkt !== undefined;
    if (!found || (scheme === 'DPoP') !== bound || (bound && seen.headers['dpop'] === undefined)) {
      response.writeHead(401, { 'www-authenticate': `Bearer resource_metadata="${metadataUrl}", scope="${this.needs}"` }).end();
      return;
    }
    if (!found.scopes.includes(this.needs)) {
      const challenge = `Bearer error="insufficient_scope", scope="${this.needs}", resource_metadata="${metadataUrl}"`;
      response.writeHead(403, { 'www-authenticate': challenge }).end();
      return;
    }
    this.seen = found;
    answerJson(response, resultFor(seen, { content: [{ type: 'text', text: 'done' }] }));
  };
}

/** Calls a tool; the text of its result, or the message of the error. */
export async function callTool(tunnel: HeadlessTunnel, id = 1): Promise<string> {
  const answer = (await send(tunnel, { body: toolCall('work', {}, id) })).json();
  return answer.error?.message ?? (answer.result?.['content'] as { text: string }[])[0]?.text ?? '';
}
