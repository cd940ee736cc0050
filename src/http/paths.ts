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
  'responses/compact': 'responses',
  'responses/input_tokens': 'responses',
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
 * The route of a path below `/v1/`; undefined for those that exist on one account only. Any spelling that an upstream may
 * take for a route is that route: passed through, it would get past the choice of the model.
 */
export function routeOf(path: string): Route | undefined {
  const plain = plainPath(path)
  return ROUTES.get(plain) ?? (plain.startsWith('models/') ? ONE_MODEL : undefined)
}

/** Blanks around a segment and dots behind it, which some servers drop. */
const AT_ENDS = /^\s+|(?<=[^.\s])[.\s]+$/g
const IS_PLAIN = /^[a-z_]+(?:\/[a-z_]+)*$/

/** Without case, escapes, parameters (`;x=1`), blanks and dots at the ends of segments, and empty segments. */
function plainPath(path: string): string {
  if (IS_PLAIN.test(path)) return path
  return segmentsOf(folded(decodedPath(path))).join('/')
}

/** Up first: `ſ` has another letter's upper case, and no lower case of its own. */
const folded = (text: string): string => text.toUpperCase().toLowerCase()

const segmentsOf = (path: string): string[] =>
  path
    .split(/[/\\]/)
    .map((segment) => segment.replace(/;.*/s, '').replace(AT_ENDS, ''))
    .filter((segment) => segment !== '')

/** Whether a path below `/v1/` is one of `paths` or below it, in any spelling. */
export function isAtOrBelow(paths: readonly string[], path: string): boolean {
  const plain = `${plainPath(path)}/`
  return paths.some((each) => plain.startsWith(`${each}/`))
}

/**
 * The id of a stored answer that a path below `/v1/` is about (`responses/{id}`, `chat/completions/{id}`, and what is
 * below them), in any spelling that an upstream may take for it; undefined for other paths. Ids of upstreams have 256
 * characters at most.
 */
export function storedAnswerIdOf(path: string): string | undefined {
  const [first = '', second = '', third = ''] = segmentsOf(decodedPath(path))
  const root = folded(first)
  const id = root === 'responses' ? second : root === 'chat' && folded(second) === 'completions' ? third : ''
  return id === '' || id.length > LONGEST_ID ? undefined : id
}

const LONGEST_ID = 256

/** A parameter, a backslash, and of escapes those of controls (C0, DEL, C1), of `%` and of a backslash. */
const UNSAFE = /[;\\]|%(?:[01][\da-f]|7f|25|5c|c2%[89][\da-f])/i

/**
 * Whether a path means the same to everybody on its way: of two readers of one that has parameters, escaped escapes or
 * dots that climb, one may see another path than the other. Other escapes are fine, as ids have them.
 */
export function isSafePath(path: string): boolean {
  if (UNSAFE.test(path)) return false
  try {
    const segments = decodeURIComponent(path).split('/')
    return !segments.some((segment) => /^\.{1,2}$/.test(segment.trim()))
  } catch {
    // Escapes that are none, or no UTF-8.
    return false
  }
}

const DOT_SEGMENT = /[/\\](?:\.|%2e){1,2}(?![^/\\])/i

/**
 * Whether a path has a segment `.` or `..`, as it was sent: whoever parses it as a URL resolves those, so that a proxy in
 * front and this gateway may see two paths.
 */
export const hasDotSegment = (path: string): boolean => DOT_SEGMENT.test(path)

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
 * The path of an absolute URL or a request target with its leading slash, escapes left as they are, so that what is
 * routed is what is passed on. Several leading slashes count as one: a base URL that ends in one is a common slip.
 */
export function pathOf(target: string): string {
  const slash = target.charCodeAt(0) === SLASH ? 0 : target.indexOf('/', target.indexOf('//') + 2)
  let start = slash < 0 ? target.length : slash
  let end = start
  while (end < target.length && target.charCodeAt(end) !== QUESTION_MARK && target.charCodeAt(end) !== HASH)
    end++
  while (target.charCodeAt(start + 1) === SLASH) start++
  return target.slice(start, end) || '/'
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
