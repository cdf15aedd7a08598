import type { AuthorizationServerMetadata, OAuthProtectedResourceMetadata } from '@modelcontextprotocol/client';

export type { AuthorizationServerMetadata, OAuthProtectedResourceMetadata };

/** The official helpers. They take a while to load, so only a sign-in or a refresh does. */
export function helpers(): Promise<typeof import('./helpers.ts')> {
  return import('./helpers.ts');
}
