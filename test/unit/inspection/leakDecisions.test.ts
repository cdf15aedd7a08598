import assert from 'node:assert/strict';
import { FindingLog } from '../../../src/inspection/findingLog.ts';
import { LeakDecisions } from '../../../src/inspection/leakDecisions.ts';
import type { Finding } from '../../../src/mcp/finding.ts';
import { Generations } from '../../../src/store/generations.ts';
import { MacKey } from '../../../src/store/signedCollection.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';

const KEY = new MacKey(Buffer.alloc(32, 7));

describe('LeakDecisions', () => {
  let bench: Bench;
  const clock = new ManualClock();
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.close());
  const open = () => new LeakDecisions(bench.window(), KEY, new Generations(), clock);
  const at = { server: 's', tool: 't', workspace: 'w' };

  it('makes digests that need the key', () => {
    const decisions = open();
    const digest = decisions.digestOf('value');
    assert.match(digest, /^[0-9a-f]{64}$/);
    assert.equal(decisions.digestOf('value'), digest);
    assert.notEqual(decisions.digestOf('value2'), digest);
    assert.notEqual(new LeakDecisions(bench.window(), new MacKey(Buffer.alloc(32, 8)), new Generations(), clock).digestOf('value'), digest);
  });

  it('knows a harmless value by digest, rule and scope, and forgets on demand', () => {
    const decisions = open();
    const digest = decisions.digestOf('value');
    const decision = decisions.notASecret('jwt', digest, { kind: 'tool', server: 's', tool: 't' });
    assert.equal(decisions.notASecret('jwt', digest, { kind: 'tool', server: 's', tool: 't' }).id, decision.id);
    assert.equal(decisions.isHarmless('jwt', digest, at), true);
    assert.equal(decisions.isHarmless('jwt', digest, { ...at, tool: 'u' }), false);
    assert.equal(decisions.isHarmless('other', digest, at), false);
    assert.equal(decisions.isHarmless('jwt', decisions.digestOf('value2'), at), false);
    decisions.remove(decision.id);
    assert.equal(decisions.isHarmless('jwt', digest, at), false);
    decisions.notASecret('jwt', digest, { kind: 'workspace', workspace: 'w' });
    assert.equal(decisions.isHarmless('jwt', digest, { ...at, server: 'x' }), true);
    assert.equal(decisions.isHarmless('jwt', digest, { ...at, workspace: undefined }), false);
  });

  it('remembers what may leave, the last word counting, until the server goes', () => {
    const decisions = open();
    assert.equal(decisions.outgoing('jwt', at), undefined);
    decisions.setOutgoing('jwt', at, 'may-leave');
    assert.equal(decisions.outgoing('jwt', at), 'may-leave');
    decisions.setOutgoing('jwt', at, 'must-stay');
    assert.equal(decisions.outgoing('jwt', at), 'must-stay');
    assert.equal(decisions.outgoing('jwt', { ...at, tool: undefined }), undefined);
    assert.equal(decisions.list().length, 1);
    decisions.forgetServer('s');
    assert.equal(decisions.outgoing('jwt', at), undefined);
  });

  it('counts a row that was written from outside as absent', () => {
    const decisions = open();
    const digest = decisions.digestOf('value');
    decisions.notASecret('jwt', digest, { kind: 'tool', server: 's', tool: 't' });
    const outside = bench.window();
    outside.run(`UPDATE signed_row SET body = replace(body, '"tool":"t"', '"tool":"u"') WHERE collection = 'leak-decisions'`);
    const again = open();
    assert.equal(again.isHarmless('jwt', digest, { ...at, tool: 'u' }), false);
    assert.equal(again.isHarmless('jwt', digest, at), false);
    assert.equal(again.tampering()[0]?.problem, 'row changed');
  });
});

describe('FindingLog with decisions', () => {
  let bench: Bench;
  const clock = new ManualClock();
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.close());

  const finding = (digest: string, more: Partial<Finding> = {}): Finding => ({
    rule: 'jwt',
    severity: 'medium',
    subject: 'a JSON Web Token',
    direction: 'to-agent',
    form: 'as is',
    action: 'redacted',
    tier: 'structured',
    path: '/result/content/0/text',
    digest,
    ...more,
  });

  it('says what is unread, and says it again when it happens after a while or ends otherwise', () => {
    const decisions = new LeakDecisions(bench.window(), KEY, new Generations(), clock);
    const log = new FindingLog(bench.window(), clock, decisions);
    const where = { server: 's', tool: 't', exchange: 'x1' };
    log.add([finding('a'.repeat(64))], where);
    assert.equal(log.unread(), 1);
    log.markRead();
    assert.equal(log.unread(), 0);
    clock.advance(1_000);
    log.add([finding('a'.repeat(64))], where);
    assert.equal(log.unread(), 0);
    log.add([finding('a'.repeat(64), { action: 'blocked' })], where);
    assert.equal(log.unread(), 1);
    log.markRead(log.list({ dismissed: false }).map((f) => f.id));
    clock.advance(60 * 60_000);
    log.add([finding('a'.repeat(64), { action: 'blocked' })], where);
    assert.deepEqual([log.unread(), log.list({ dismissed: false })[0]?.count], [1, 4]);
    const [stored] = log.list({ dismissed: false });
    assert.deepEqual([stored?.tier, stored?.path, stored?.digest], ['structured', '/result/content/0/text', 'a'.repeat(64)]);
    log.setDismissed(stored?.id ?? '', true);
    log.add([finding('a'.repeat(64))], where);
    assert.equal(log.unread(), 0);
  });

  it('takes “Not a Secret” for what a pattern found, and undoes it', () => {
    const decisions = new LeakDecisions(bench.window(), KEY, new Generations(), clock);
    const log = new FindingLog(bench.window(), clock, decisions);
    const digest = decisions.digestOf('value');
    log.add([finding(digest)], { server: 's', tool: 't', workspace: 'w', exchange: 'x1' });
    log.add([finding(digest)], { server: 's', tool: 'u', exchange: 'x2' });
    log.add([finding(digest, { rule: 'known-secret', tier: 'known', subject: 'token' })], { server: 's', tool: 't', exchange: 'x3' });
    const idOf = (tool: string, rule = 'jwt') => log.list({ dismissed: false }).find((f) => f.tool === tool && f.rule === rule)?.id ?? '';
    assert.equal(log.notASecret(idOf('t', 'known-secret'), 'rule'), undefined);
    assert.equal(log.notASecret(idOf('u'), 'workspace'), undefined);
    const decision = log.notASecret(idOf('t'), 'tool');
    assert.ok(decision);
    assert.equal(decisions.isHarmless('jwt', digest, { server: 's', tool: 't', workspace: undefined }), true);
    assert.deepEqual(
      log
        .list({ dismissed: false })
        .map((f) => [f.tool, f.rule])
        .sort(),
      [
        ['t', 'known-secret'],
        ['u', 'jwt'],
      ],
    );
    assert.deepEqual(log.decisions(), [decision]);
    log.undo(decision.id);
    assert.equal(decisions.isHarmless('jwt', digest, { server: 's', tool: 't', workspace: undefined }), false);
    assert.equal(log.list({ dismissed: false }).length, 3);
    const everywhere = log.notASecret(idOf('t'), 'rule');
    assert.equal(log.list({ dismissed: false }).length, 1);
    log.undo(everywhere?.id ?? '');
    assert.equal(log.list({ dismissed: false }).length, 3);
  });
});
