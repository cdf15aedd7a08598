/** What is used of Cedar’s engine, by name, so that a bundle holds no more of it. `scripts/cedarEngine.ts` has the same list. */
export {
  checkParsePolicySet,
  initSync,
  policySetTextToParts,
  policyToJson,
  preparsePolicySet,
  statefulIsAuthorized,
  validate,
} from '@cedar-policy/cedar-wasm/web';
