/** Where the path begins in an absolute URL. */
function pathStartOf(url: string): number {
  const start = url.indexOf('/', url.indexOf('//') + 2)
  return start < 0 ? url.length : start
}

/** The offset of the query's `?` or the fragment's `#`, whichever comes first; the length where there is neither. */
function pathEndOf(url: string, start: number): number {
  for (let at = start; at < url.length; at++) {
    const code = url.charCodeAt(at)
    if (code === QUESTION_MARK || code === HASH) return at
  }
  return url.length
}

const SLASH = 0x2f
const QUESTION_MARK = 0x3f
const HASH = 0x23

/**
 * The path of a request's absolute URL with its leading slash, escapes left as they are, so that what is routed is
 * what is passed on. Several leading slashes count as one: a base URL that ends in one is a common slip.
 */
export function pathOf(url: string): string {
  const start = pathStartOf(url)
  let first = start
  while (url.charCodeAt(first + 1) === SLASH) first++
  return url.slice(first, pathEndOf(url, start)) || '/'
}

/** The same without slashes at its end: what Hono looks routes up by. */
export function routedPathOf(request: Request): string {
  const path = pathOf(request.url)
  let end = path.length
  while (end > 1 && path.charCodeAt(end - 1) === SLASH) end--
  return path.slice(0, end)
}

/**
 * The query of a URL or a request target, byte for byte, without its `?`; empty = none. A fragment, which a client
 * should not send, belongs to no query.
 */
export function queryOf(target: string): string {
  const start = target.indexOf('?')
  if (start < 0) return ''
  const end = target.indexOf('#')
  if (end >= 0 && end < start) return ''
  return target.slice(start + 1, end < 0 ? target.length : end)
}
