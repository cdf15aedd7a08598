import * as z from 'zod';
import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Credential } from '../credential.ts';
import { Secret } from '../secret.ts';
import { CredentialError, type CredentialSource, type Resolved, type SourceAsk, type SourceTest } from '../source.ts';
import { DEFAULT_KEEP_SECONDS, type SpecOf } from '../sourceSpec.ts';
import { revisionOf } from '../sources.ts';
import type { Vault } from '../vault.ts';
import type { SourceHttp } from './http.ts';

type Spec = SpecOf<'hashicorp-vault'>;

/** How much of a lease is left when it is renewed, as a share. */
const RENEW_AT = 0.2;
/** A token with less than this share of its time left is renewed, or got anew: leases end with the token that they were got with. */
const TOKEN_RENEW_AT = 0.4;

/** What logins and renewals answer (HTTP API, “auth” and “lease” fields of responses). */
const Auth = z.object({
  auth: z.object({ client_token: z.string().min(1), lease_duration: z.number().nonnegative(), renewable: z.boolean() }),
});
const Kv2 = z.object({ data: z.object({ data: z.record(z.string(), z.unknown()).nullable() }) });
const Dynamic = z.object({
  lease_id: z.string(),
  lease_duration: z.number().nonnegative(),
  renewable: z.boolean(),
  data: z.record(z.string(), z.unknown()),
});
const Renewed = z.object({ lease_duration: z.number().nonnegative(), renewable: z.boolean() });
const LookedUp = z.object({
  data: z.object({ ttl: z.number(), policies: z.array(z.string()).optional(), renewable: z.boolean().optional() }),
});

/** A token of this window; of AppRole only, since a given one belongs to the user. */
interface Login {
  readonly row: number;
  readonly token: Secret;
  readonly renewable: boolean;
  readonly lastsMs: number;
  readonly endsAt: number;
}

interface Lease {
  readonly row: number;
  readonly id: string;
  readonly renewable: boolean;
  readonly endsAt: number;
  readonly resolved: Resolved;
}

/** HashiCorp Vault and OpenBao over their HTTP API: KV version 2 and dynamic secrets, token and AppRole login, namespaces. */
export class HashicorpVaultSource implements CredentialSource {
  readonly kind = 'hashicorp-vault';
  readonly #vault: Vault;
  readonly #http: SourceHttp;
  readonly #clock: Clock;
  readonly #logins = new Map<string, Login>();
  readonly #leases = new Map<string, Lease>();

  /** `vault` is Culvert's own: the token or secret id lies in it, sealed for the address of the server. */
  constructor(vault: Vault, http: SourceHttp, clock: Clock) {
    this.#vault = vault;
    this.#http = http;
    this.#clock = clock;
  }

  async resolve(ask: SourceAsk): Promise<Resolved> {
    const spec = specOf(ask.credential);
    const at = `${ask.credential.id} ${ask.binding}`;
    if (spec.secret.engine === 'kv2') return this.#readKv(ask, spec, spec.secret);
    const lease = this.#leases.get(at);
    if (lease?.row === ask.credential.revision && !ask.refused) {
      const renewed = await this.#renew(ask, spec, lease, at);
      if (renewed) return renewed;
    }
    if (lease) await this.#giveBack(ask.credential, lease, at, ask.signal);
    return this.#lease(ask, spec, spec.secret.path, spec.secret.field, at);
  }

  async test(ask: SourceAsk): Promise<SourceTest> {
    const spec = specOf(ask.credential);
    const token = await this.#token(ask, spec);
    const { data } = await this.#call(ask, spec, 'GET', 'auth/token/lookup-self', token, LookedUp, 'login');
    const left = data.ttl > 0 ? `, good for another ${Math.round(data.ttl / 60)} minutes` : '';
    const broad = data.policies?.includes('root') === true ? ' It is a root token: one with a policy for just this path would do.' : '';
    return {
      state: 'valid',
      step: 'login',
      detail: `Vault takes the ${spec.login.method === 'token' ? 'token' : 'role'} (policies ${data.policies?.join(', ') ?? 'unknown'}${left}).${broad}`,
    };
  }

  /** Ends the lease and the login of this window. */
  async release(credential: Credential, signal: AbortSignal): Promise<void> {
    for (const [at, lease] of this.#leases) if (at.startsWith(`${credential.id} `)) await this.#giveBack(credential, lease, at, signal);
    const login = this.#logins.get(credential.id);
    this.#logins.delete(credential.id);
    if (login)
      await this.#send(specOf(credential), 'POST', 'auth/token/revoke-self', login.token, undefined, signal).catch(() => undefined);
  }

  async #readKv(ask: SourceAsk, spec: Spec, { mount, path, field }: Extract<Spec['secret'], { engine: 'kv2' }>): Promise<Resolved> {
    const token = await this.#token(ask, spec);
    const { data } = await this.#call(ask, spec, 'GET', `${mount}/data/${path}`, token, Kv2, 'read');
    const value = textAt(data.data ?? {}, field);
    return {
      secret: value,
      revision: revisionOf(value.expose()),
      expiresAt: this.#clock.now() + (spec.keepSeconds ?? DEFAULT_KEEP_SECONDS) * 1000,
    };
  }

  async #lease(ask: SourceAsk, spec: Spec, path: string, field: string, at: string): Promise<Resolved> {
    const token = await this.#token(ask, spec);
    const answer = await this.#call(ask, spec, 'GET', path, token, Dynamic, 'read');
    const value = textAt(answer.data, field);
    const parts: Record<string, Secret> = {};
    // Names as the engines have them: database, aws.
    for (const [part, name] of [
      ['username', 'username'],
      ['access_key', 'accessKeyId'],
      ['security_token', 'sessionToken'],
      ['session_token', 'sessionToken'],
    ] as const) {
      const text = answer.data[part];
      if (typeof text === 'string' && text !== '' && part !== field) parts[name] = new Secret(text);
    }
    const given: Resolved = {
      secret: value,
      revision: revisionOf(value.expose(), answer.lease_id),
      ...(Object.keys(parts).length > 0 ? { parts } : {}),
    };
    return this.#hold(at, ask.credential.revision, answer.lease_id, answer.renewable, answer.lease_duration, given);
  }

  /** The same value for longer; `undefined` if the lease can't be renewed or is over. */
  async #renew(ask: SourceAsk, spec: Spec, lease: Lease, at: string): Promise<Resolved | undefined> {
    if (!lease.renewable || lease.endsAt <= this.#clock.now()) return undefined;
    try {
      const token = await this.#token(ask, spec);
      const answer = await this.#call(ask, spec, 'POST', 'sys/leases/renew', token, Renewed, 'renewal', { lease_id: lease.id });
      // At its maximum a lease is renewed by nothing: a new one is due.
      if (answer.lease_duration < 2) return undefined;
      return this.#hold(at, lease.row, lease.id, answer.renewable, answer.lease_duration, lease.resolved);
    } catch {
      return undefined;
    }
  }

  #hold(at: string, row: number, id: string, renewable: boolean, seconds: number, given: Resolved): Resolved {
    const now = this.#clock.now();
    const lastsMs = seconds > 0 ? seconds * 1000 : DEFAULT_KEEP_SECONDS * 1000;
    const resolved = { ...given, expiresAt: now + lastsMs * (1 - RENEW_AT), ...(seconds > 0 ? { validUntil: now + lastsMs } : {}) };
    if (id !== '') this.#leases.set(at, { row, id, renewable, endsAt: now + lastsMs, resolved });
    return resolved;
  }

  async #giveBack(credential: Credential, lease: Lease, at: string, signal: AbortSignal): Promise<void> {
    this.#leases.delete(at);
    const spec = specOf(credential);
    try {
      const token = this.#logins.get(credential.id)?.token ?? (await this.#key(credential, spec));
      await this.#send(spec, 'POST', 'sys/leases/revoke', token, { lease_id: lease.id }, signal);
    } catch {
      // It ends by itself when its time is over.
    }
  }

  async #token(ask: SourceAsk, spec: Spec): Promise<Secret> {
    const { credential } = ask;
    const { login } = spec;
    if (login.method === 'token') return this.#key(credential, spec);
    const held = this.#logins.get(credential.id);
    if (held?.row === credential.revision && held.endsAt > this.#clock.now()) {
      if (held.endsAt - this.#clock.now() > held.lastsMs * TOKEN_RENEW_AT) return held.token;
      if (held.renewable) {
        try {
          const { auth } = await this.#call(ask, spec, 'POST', 'auth/token/renew-self', held.token, Auth, 'renewal', {});
          // At its maximum it is renewed by nothing.
          if (auth.lease_duration * 1000 > held.lastsMs * TOKEN_RENEW_AT) return this.#signedIn(credential, auth);
        } catch {
          // A new login may do.
        }
      }
    }
    const body = { role_id: login.roleId, secret_id: (await this.#key(credential, spec)).expose() };
    const { auth } = await this.#call(ask, spec, 'POST', `auth/${login.mount}/login`, undefined, Auth, 'login', body);
    return this.#signedIn(credential, auth);
  }

  #signedIn(credential: Credential, auth: z.infer<typeof Auth>['auth']): Secret {
    const token = new Secret(auth.client_token);
    const lastsMs = auth.lease_duration > 0 ? auth.lease_duration * 1000 : Number.POSITIVE_INFINITY;
    this.#logins.set(credential.id, {
      row: credential.revision,
      token,
      renewable: auth.renewable,
      lastsMs,
      endsAt: this.#clock.now() + lastsMs,
    });
    return token;
  }

  /** The token or secret id, from Culvert's own vault, for the address alone. */
  async #key(credential: Credential, { address, login }: Spec): Promise<Secret> {
    const opened = await this.#vault.open(credential.id, new URL(address).origin);
    if (opened.ok) return opened.secret;
    throw new CredentialError(
      'CULVERT_CREDENTIAL_MISSING',
      'keyring',
      `The ${login.method === 'token' ? 'token' : 'secret id'} for Vault of “${credential.name}” is not in the system’s keyring. Check that the keyring is unlocked, or enter it again with “Culvert: Replace Credential…”.`,
      { action: 'replace' },
    );
  }

  async #call<T>(
    { credential, signal }: SourceAsk,
    spec: Spec,
    method: 'GET' | 'POST',
    path: string,
    token: Secret | undefined,
    schema: z.ZodType<T>,
    step: string,
    body?: Readonly<Record<string, unknown>>,
  ): Promise<T> {
    const host = new URL(spec.address).host;
    const { status, text } = await this.#send(spec, method, path, token, body, signal).catch((error: unknown) => {
      throw new CredentialError('CULVERT_CREDENTIAL_VAULT_AWAY', 'connection', `Vault at ${host} can’t be reached: ${messageOf(error)}`, {
        forAgent: `The Vault at ${host} that holds the credential can’t be reached.`,
      });
    });
    if (status >= 300) {
      // Whatever the token was, it is not taken any more: the next question logs in again.
      if (status === 403) this.#logins.delete(credential.id);
      throw refusedBy(host, status, step, credential.name);
    }
    try {
      return schema.parse(JSON.parse(text));
    } catch {
      throw new CredentialError(
        'CULVERT_CREDENTIAL_VAULT_ANSWER',
        step,
        `Vault at ${host} answered, but not as expected at ${path}. Check mount, path and engine with “Culvert: Replace Credential…”.`,
        { action: 'replace' },
      );
    }
  }

  async #send(
    { address, namespace, authorities }: Spec,
    method: 'GET' | 'POST',
    path: string,
    token: Secret | undefined,
    body: Readonly<Record<string, unknown>> | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const url = new URL(`/v1/${path.split('/').map(encodeURIComponent).join('/')}`, address);
    const answer = await this.#http({
      method,
      url,
      headers: {
        accept: 'application/json',
        'x-vault-request': 'true',
        ...(token ? { 'x-vault-token': token.expose() } : {}),
        ...(namespace === undefined ? {} : { 'x-vault-namespace': namespace }),
        ...(body ? { 'content-type': 'application/json' } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
      ...(authorities === undefined ? {} : { authorities }),
      signal,
    });
    return { status: answer.status, text: answer.body };
  }
}

function specOf({ source }: Credential): Spec {
  if (source?.kind !== 'hashicorp-vault') throw new Error('The credential is not that of a Vault.');
  return source;
}

function textAt(data: Readonly<Record<string, unknown>>, field: string): Secret {
  const value = Object.hasOwn(data, field) ? data[field] : undefined;
  if (typeof value === 'string' && value !== '') return new Secret(value);
  throw new CredentialError(
    'CULVERT_CREDENTIAL_VAULT_FIELD',
    'read',
    `The secret in Vault has no text in a field ${field}. Set the field with “Culvert: Replace Credential…”.`,
    { action: 'replace' },
  );
}

/** https://developer.hashicorp.com/vault/api-docs#http-status-codes */
function refusedBy(host: string, status: number, step: string, name: string): CredentialError {
  const why =
    status === 400 || status === 403
      ? step === 'login'
        ? 'it does not take the token or role. Enter it again with “Culvert: Replace Credential…”.'
        : 'the token’s policies don’t allow that path, or the token is over. Ask who runs Vault, or enter another with “Culvert: Replace Credential…”.'
      : status === 404
        ? 'there is nothing at that path. Check mount and path with “Culvert: Replace Credential…”.'
        : status === 503
          ? 'it is sealed. Ask who runs it to unseal it.'
          : 'try again in a moment.';
  return new CredentialError(
    'CULVERT_CREDENTIAL_VAULT_REFUSED',
    step,
    `Vault at ${host} gave nothing for “${name}” (HTTP ${status}): ${why}`,
    {
      forAgent: `The Vault at ${host} that holds the credential “${name}” gave nothing (HTTP ${status}, ${step}).`,
      action: 'replace',
    },
  );
}
