import { parseUrl } from './base-url.ts'

/**
 * A browser origin as it stands in `Origin` (RFC 6454 §7), or undefined when the text is none. A trailing
 * slash and an upper-case host are put right. Schemes of apps and extensions (`tauri://localhost`) count.
 */
export function parseOrigin(text: string): string | undefined {
  const [whole, scheme] = /^([a-z][a-z0-9+.-]*):\/\/[^\s/?#@\\]+(?=\/?$)/i.exec(text) ?? []
  const url = whole === undefined ? undefined : parseUrl(whole)
  if (whole === undefined || scheme === undefined || url === undefined) return undefined
  return /^https?$/i.test(scheme) ? url.origin : whole.toLowerCase()
}
