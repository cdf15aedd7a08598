/** A window that is about to be killed: its last three intents stand in the journal when it prints its chain. Argument: the database. */
import { AuditLog } from '../../src/audit/auditLog.ts';
import { Checkpoints } from '../../src/audit/checkpoints.ts';
import { Database } from '../../src/store/database.ts';
import { intent, outcome } from '../unit/audit/samples.ts';
import { ManualClock } from './manualClock.ts';

const db = Database.open(process.argv[2] ?? '');
// Its timers never fall due.
const clock = new ManualClock();
const log = new AuditLog(db, clock, new Checkpoints(db, { get: async () => undefined, set: async () => undefined }, clock));
for (let i = 0; i < 6; i++) {
  await log.open(`ended-${i}`, { ...intent, requestBytes: i });
  log.close(`ended-${i}`, outcome);
  await new Promise(setImmediate);
}
for (let i = 0; i < 3; i++) {
  await log.open(`x-${i}`, { ...intent, requestBytes: i });
  await new Promise(setImmediate);
}
console.log(log.chain);
setInterval(() => undefined, 60_000);
