/**
 * What may stand in a request header. Names are tokens (RFC 9110 §5.6.2), values are visible Latin-1 with
 * blanks and tabs (§5.5): anything else makes a transport throw with the value in its message.
 */
export const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
export const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/

/**
 * Names that belong to the connection or to the transport and are never configured: hop-by-hop fields
 * (RFC 9110 §7.6.1 and their historic kin), the framing, and `expect`, which fetch refuses.
 */
export const isTransportHeader = (name: string): boolean => transportHeaders.has(name.toLowerCase())

const transportHeaders: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
