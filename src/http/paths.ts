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

/** Paths that are relayed to a pool. */
const RELAYED: Readonly<Record<string, Endpoint>> = {
  'chat/completions': 'chat',
  completions: 'completions',
  embeddings: 'embeddings',
  responses: 'responses',
  moderations: 'moderations',
  rerank: 'rerank',
  'images/generations': 'images',
  'images/edits': 'images',
  'images/variations': 'images',
  'audio/speech': 'audio',
  'audio/transcriptions': 'audio',
  'audio/translations': 'audio',
}
const READS = ['GET', 'HEAD']
const MODELS: Route = { path: 'models', endpoint: undefined, methods: READS, passthroughMethods: [] }
const ONE_MODEL: Route = { ...MODELS, path: '', passthroughMethods: ['DELETE'] }
const ROUTES = new Map<string, Route>([[MODELS.path, MODELS]])
for (const [path, endpoint] of Object.entries(RELAYED)) {
  // `GET /v1/chat/completions` lists the stored completions of one account.
  const passthroughMethods = endpoint === 'chat' ? ['GET'] : []
  ROUTES.set(path, { path, endpoint, methods: ['POST'], passthroughMethods })
}

/**
 * The route of a path below `/v1/`; undefined for those that exist on one account only. An odd spelling (escapes, empty
 * segments, a slash at the end) is the same route: passed through, it would get past the choice of the model.
 */
export function routeOf(path: string): Route | undefined {
  return ROUTES.get(normalized(path)) ?? (path.startsWith('models/') ? ONE_MODEL : undefined)
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
export const RELAYED_PATHS = Object.keys(RELAYED).map((path) => `/v1/${path}`)

/** All paths with an answer of their own, longest first, so that the nearest is found first. */
export const OWN_PATHS = [...RELAYED_PATHS, '/v1/models'].sort((a, b) => b.length - a.length)

const SLASH = 0x2f
const QUESTION_MARK = 0x3f
const HASH = 0x23

/**
 * The path of a request's absolute URL with its leading slash, escapes left as they are, so that what is routed is
 * what is passed on. Several leading slashes count as one: a base URL that ends in one is a common slip.
 */
export function pathOf(url: string): string {
  const slash = url.indexOf('/', url.indexOf('//') + 2)
  let start = slash < 0 ? url.length : slash
  let end = start
  while (end < url.length && url.charCodeAt(end) !== QUESTION_MARK && url.charCodeAt(end) !== HASH) end++
  while (url.charCodeAt(start + 1) === SLASH) start++
  return url.slice(start, end) || '/'
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
  const hash = target.indexOf('#')
  const end = hash < 0 ? target.length : hash
  const start = target.indexOf('?')
  return start < 0 ? '' : target.slice(start + 1, Math.max(start + 1, end))
}
