import type { Endpoint } from '../pool/upstream.ts'

/** An OpenAI path below `/v1/`, and what is done with it here. */
export interface Route {
  /** In its plain spelling; empty for the paths of single models. */
  readonly path: string
  /** Undefined = answered here, not relayed. */
  readonly endpoint: Endpoint | undefined
  /** Methods that AILoad answers itself. */
  readonly methods: readonly string[]
  /** Further methods that OpenAI has there, which the one upstream that can mean it may be asked with. */
  readonly passthroughMethods: readonly string[]
}

const READS = ['GET', 'HEAD']
const relayedRoute = (
  path: string,
  endpoint: Endpoint,
  passthroughMethods: readonly string[] = [],
): Route => ({
  path,
  endpoint,
  methods: ['POST'],
  passthroughMethods,
})

/** Paths that are relayed to a pool. `GET /v1/chat/completions` lists stored completions of one account. */
const ALL_ROUTES: readonly Route[] = [
  relayedRoute('chat/completions', 'chat', ['GET']),
  relayedRoute('completions', 'completions'),
  relayedRoute('embeddings', 'embeddings'),
  relayedRoute('responses', 'responses'),
  relayedRoute('moderations', 'moderations'),
  relayedRoute('rerank', 'rerank'),
  relayedRoute('images/generations', 'images'),
  relayedRoute('images/edits', 'images'),
  relayedRoute('images/variations', 'images'),
  relayedRoute('audio/speech', 'audio'),
  relayedRoute('audio/transcriptions', 'audio'),
  relayedRoute('audio/translations', 'audio'),
  { path: 'models', endpoint: undefined, methods: READS, passthroughMethods: [] },
]

const ROUTES: ReadonlyMap<string, Route> = new Map(ALL_ROUTES.map((route) => [route.path, route]))
const ONE_MODEL: Route = { path: '', endpoint: undefined, methods: READS, passthroughMethods: ['DELETE'] }

/**
 * The route of a path below `/v1/`; undefined for those that exist on one account only.
 *
 * An odd spelling (escapes, empty segments, a slash at the end) is the same route: else it would be passed through as it
 * is, and lead a lenient upstream past the choice of its model.
 */
export function routeOf(path: string): Route | undefined {
  return (
    ROUTES.get(path) ?? ROUTES.get(normalized(path)) ?? (path.startsWith('models/') ? ONE_MODEL : undefined)
  )
}

function normalized(path: string): string {
  if (!/%|^\/|\/$|\/\//.test(path)) return path
  return decodedPath(path)
    .split('/')
    .filter((segment) => segment !== '')
    .join('/')
}

/** Percent-escapes resolved; the text itself where they are malformed. */
export function decodedPath(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The relayed paths, for messages. */
export const RELAYED_PATHS = ALL_ROUTES.filter(({ endpoint }) => endpoint !== undefined).map(
  ({ path }) => `/v1/${path}`,
)

/** All paths with an answer of their own, longest first, so that the nearest is found first. */
export const OWN_PATHS = ALL_ROUTES.map(({ path }) => `/v1/${path}`).sort((a, b) => b.length - a.length)

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
