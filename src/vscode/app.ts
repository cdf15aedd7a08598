import type { Core } from '../tunnel/core.ts';
import type { Policies } from '../tunnel/policies.ts';
import type { Tunnel } from '../tunnel/tunnel.ts';
import type { Principal } from '../mcp/principal.ts';
import type { Logger } from '../common/logger.ts';
import type { Caller } from '../authorization/grant.ts';
import type { BranchWatch } from './branchWatch.ts';
import type { ApprovalPrompt } from './approvalPrompt.ts';
import type { Configuration } from './configuration/configuration.ts';

/** What commands and views work with once everything is open. */
export interface App {
  readonly core: Core;
  readonly tunnel: Tunnel;
  /** Policies above grants, and what is wrong with them. */
  readonly policies: Policies;
  readonly logger: Logger;
  readonly prompt: ApprovalPrompt;
  /** Other clients' configurations: imports and what the editor says about them. */
  readonly configuration: Configuration;
  /** This window as a principal, for showing what the editor's agents may do here. */
  readonly principal: Principal;
  /** {@link principal} with the git branch that is checked out now, for showing how its calls would be decided. Ask anew for every look. */
  readonly caller: Caller;
  /** Says when another git branch is checked out. */
  readonly branch: BranchWatch;
}
