/** What a sign-in and a refresh take from packages, by name, so that a bundle holds no more of them. */
export {
  discoverAuthorizationServerMetadata,
  discoverOAuthProtectedResourceMetadata,
  fetchToken,
  requestJwtAuthorizationGrant,
  startAuthorization,
  validateAuthorizationResponseIssuer,
} from '@modelcontextprotocol/client';
export { SignJWT, importPKCS8 } from 'jose';
