import { CulvertError } from '../common/errors.ts';

/** Something about the record could not be done: an import that is no export, a retention that is held. */
export class AuditError extends CulvertError {}
