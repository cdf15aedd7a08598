/**
 * Checks an export of Culvert's audit history without Culvert: plain Node 18 or later, nothing to install. The form of the file and what
 * this can and can't prove stand in docs/audit-format.md.
 *
 *     node verify-audit.mjs EXPORT.jsonl [--key THUMBPRINT]
 *
 * `--key` is the thumbprint (RFC 7638) that Culvert shows for its key: without it the export proves only that one key signed all of it.
 * Exit code: 0 all holds, 1 something does not, 2 the file is no export.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

const MAX_TOLD = 50;

const [file, option, wantedKey] = process.argv.slice(2);
if (!file || (option !== undefined && (option !== '--key' || !wantedKey))) {
  console.error('usage: node verify-audit.mjs EXPORT.jsonl [--key THUMBPRINT]');
  process.exit(2);
}

const sha256 = (text) => createHash('sha256').update(text).digest('hex');
const problems = [];
let more = 0;
const problem = (text) => (problems.length < MAX_TOLD ? problems.push(text) : more++);

/** Payload of a compact JWS that the key signed, else undefined (RFC 7515, RFC 8037). */
function opened(jws, type) {
  try {
    const [header, payload, signature] = jws.split('.');
    const { alg, typ } = JSON.parse(Buffer.from(header, 'base64url').toString());
    if (alg !== 'EdDSA' || typ !== type) return undefined;
    if (!verify(null, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'))) return undefined;
    return JSON.parse(Buffer.from(payload, 'base64url').toString());
  } catch {
    return undefined;
  }
}

const lines = createHash('sha256');
/** By chain: how far it was read, `start` where the export begins in its middle. */
const chains = new Map();
/** Every entry's hash by chain and number; checkpoints come after the entries. 32 bytes each. */
const hashes = new Map();
const checkpoints = [];
let head;
let key;
let thumbprint;
let end;
let entries = 0;
let number = 0;

for await (const text of createInterface({ input: createReadStream(file, 'utf8'), crlfDelay: Infinity })) {
  number++;
  let line;
  try {
    line = JSON.parse(text);
  } catch {
    fatal(`Line ${number} is no JSON.`);
  }
  if (number === 1) {
    if (line.type !== 'culvert-audit-export' || line.v !== 1) fatal('This is no export of the audit history, or one of a newer version.');
    head = line;
    const { crv, kty, x } = line.key;
    key = createPublicKey({ key: { crv, kty, x }, format: 'jwk' });
    thumbprint = createHash('sha256').update(JSON.stringify({ crv, kty, x })).digest('base64url');
  }
  if (end !== undefined) {
    problem(`Line ${number} stands behind the end.`);
    break;
  }
  if (line.type === 'end') {
    end = line.jws;
    continue;
  }
  lines.update(text).update('\n');
  if (line.type === 'start') {
    chains.set(line.chain, { first: line.n + 1, n: line.n, hash: line.hash });
    hashes.set(line.chain, [Buffer.from(line.hash, 'hex')]);
  } else if (line.type === 'entry') entry(line);
  else if (line.type === 'checkpoint') checkpoints.push(line);
}

function entry({ chain, n, at, kind, exchange, body, hash }) {
  entries++;
  let state = chains.get(chain);
  if (!state) {
    // A chain that retention cut begins behind its tombstone; that is looked up when the tombstones have been read.
    state = { first: n, n: n - 1, hash: n === 1 ? '' : undefined, begins: n };
    chains.set(chain, state);
    hashes.set(chain, [Buffer.alloc(0)]);
  }
  if (n !== state.n + 1) return problem(`Chain ${chain}: entry ${n} stands where entry ${state.n + 1} should be.`);
  const link = (previous) => sha256(`${previous}\n${chain}\n${n}\n${at}\n${kind}\n${exchange ?? ''}\n${body}`);
  if (state.hash === undefined) state.checkFirst = (previous) => link(previous) === hash;
  else if (link(state.hash) !== hash) problem(`Chain ${chain}: entry ${n} was changed.`);
  state.n = n;
  state.hash = hash;
  hashes.get(chain).push(Buffer.from(hash, 'hex'));
}

if (!head || end === undefined) fatal('The end of the file is missing.');

const manifest = opened(end, 'culvert-export+jws');
if (!manifest) problem('The signature at the end does not hold.');
else if (manifest.sha256 !== lines.digest('hex')) problem('The file was changed after it was signed.');
else if (manifest.entries !== entries || manifest.checkpoints !== checkpoints.length) problem('The file has not as many lines as it says.');
if (wantedKey !== undefined && wantedKey !== thumbprint) problem(`The key is ${thumbprint}, not ${wantedKey}.`);

const digests = new Set(checkpoints.map(({ jws }) => sha256(jws)));
const payloads = [];
for (const { id, jws } of checkpoints) {
  const payload = opened(jws, 'culvert-checkpoint+jws');
  if (payload) payloads.push({ id, ...payload });
  else problem(`Checkpoint ${id} is not signed by this key.`);
}
const dropped = new Map();
const forgotten = new Set();
for (const payload of payloads) {
  for (const [chain, n, hash] of payload.dropped?.chains ?? []) if ((dropped.get(chain)?.n ?? 0) < n) dropped.set(chain, { n, hash });
  for (const digest of payload.dropped?.checkpoints ?? []) forgotten.add(digest);
}
for (const { id, previous, also = [] } of payloads)
  for (const named of [previous, ...also])
    if (named !== '' && !digests.has(named) && !forgotten.has(named)) problem(`A checkpoint before checkpoint ${id} is missing.`);

for (const [chain, { begins, checkFirst }] of chains) {
  if (begins === undefined || begins === 1) continue;
  const tombstone = dropped.get(chain);
  if (!tombstone || tombstone.n < begins - 1) problem(`Chain ${chain}: entries 1 to ${begins - 1} are missing.`);
  else if (tombstone.n === begins - 1 && !checkFirst(tombstone.hash)) problem(`Chain ${chain}: entry ${begins} was changed.`);
}

const gone = new Map();
for (const { heads, at } of payloads)
  for (const [chain, n, hash] of heads) {
    if (n <= (dropped.get(chain)?.n ?? 0)) continue;
    const state = chains.get(chain);
    const found = state && hashes.get(chain)[n - state.first + 1];
    if (found && n >= state.first - 1) {
      if (found.length > 0 && found.toString('hex') !== hash)
        problem(`Chain ${chain}: entry ${n} is not the one that was signed at ${new Date(at).toISOString()}.`);
      // An export of a span speaks for that span.
    } else if (head.whole && n > (state?.n ?? 0)) gone.set(chain, Math.max(n, gone.get(chain) ?? 0));
  }
for (const [chain, n] of gone) problem(`Chain ${chain}: entries up to ${n} were signed but are not in the file.`);

console.log(`${entries} entries in ${chains.size} chains, ${checkpoints.length} checkpoints, made ${new Date(head.made).toISOString()}`);
console.log(`key ${thumbprint}${wantedKey === undefined ? ' (compare it with the one that Culvert shows)' : ''}`);
for (const text of problems) console.log(text);
if (more > 0) console.log(`… and ${more} more.`);
console.log(problems.length === 0 ? 'All of it holds.' : `${problems.length + more} problems.`);
process.exitCode = problems.length === 0 ? 0 : 1;

function fatal(text) {
  console.error(text);
  process.exit(2);
}
