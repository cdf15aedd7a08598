/** What is done with a call, and why. */
export interface Decision {
  readonly effect: 'allow' | 'ask' | 'deny';
  /** What made the decision. */
  readonly by:
    | { readonly kind: 'grant'; readonly grant: string }
    /** A policy above the grants: which one, and the name of its rule. */
    | { readonly kind: 'policy'; readonly layer: string; readonly rule: string }
    | {
        readonly kind: 'rule';
        readonly rule:
          'session' | 'paused' | 'no-grant' | 'unknown-server' | 'fault' | 'unanswered' | 'dismissed' | 'answered' | 'refused' | 'leak';
      };
  /** One or two sentences for the user and the agent: why, and what would change it. Holds no secret. */
  readonly reason: string;
}

/** A denial that a rule makes. */
export function denyBy(rule: Extract<Decision['by'], { kind: 'rule' }>['rule'], reason: string): Decision {
  return { effect: 'deny', by: { kind: 'rule', rule }, reason };
}
