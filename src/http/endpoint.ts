import type { Endpoint } from '../pool/vocabulary.ts'

/** An OpenAI path below `/v1/`, and what is done with it here. */
export interface Route {
  /** In its plain spelling; empty for the paths of single models. */
  readonly path: string
  /** Undefined = answered here, not relayed. */
  readonly endpoint: Endpoint | undefined
  /** Methods that AILoad answers itself. */
  readonly methods: readonly string[]
  /** Further methods that OpenAI has there, which the one upstream that can mean it may be asked with. */
  readonly passedOn: readonly string[]
}

const READS = ['GET', 'HEAD']
const relayed = (path: string, endpoint: Endpoint, passedOn: readonly string[] = []): Route => ({
  path,
  endpoint,
  methods: ['POST'],
  passedOn,
})

/** Paths that are relayed to a pool. `GET /v1/chat/completions` lists stored completions of one account. */
const ALL: readonly Route[] = [
  relayed('chat/completions', 'chat', ['GET']),
  relayed('completions', 'completions'),
  relayed('embeddings', 'embeddings'),
  relayed('responses', 'responses'),
  relayed('moderations', 'moderations'),
  relayed('rerank', 'rerank'),
  relayed('images/generations', 'images'),
  relayed('images/edits', 'images'),
  relayed('images/variations', 'images'),
  relayed('audio/speech', 'audio'),
  relayed('audio/transcriptions', 'audio'),
  relayed('audio/translations', 'audio'),
  { path: 'models', endpoint: undefined, methods: READS, passedOn: [] },
]

const ROUTES: ReadonlyMap<string, Route> = new Map(ALL.map((route) => [route.path, route]))
const ONE_MODEL: Route = { path: '', endpoint: undefined, methods: READS, passedOn: ['DELETE'] }

/**
 * The route of a path below `/v1/`; undefined for those that exist on one account only.
 *
 * An odd spelling (escapes, empty segments, a slash at the end) is the same route: else it would be passed on as it
 * is, and lead a lenient upstream past the choice of its model.
 */
export function routeOf(path: string): Route | undefined {
  return ROUTES.get(path) ?? ROUTES.get(plain(path)) ?? (path.startsWith('models/') ? ONE_MODEL : undefined)
}

function plain(path: string): string {
  if (!/%|^\/|\/$|\/\//.test(path)) return path
  return unescaped(path)
    .split('/')
    .filter((segment) => segment !== '')
    .join('/')
}

/** Percent-escapes resolved; the text itself where they are malformed. */
export function unescaped(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The relayed paths, for messages. */
export const RELAYED_PATHS = ALL.filter(({ endpoint }) => endpoint !== undefined).map(
  ({ path }) => `/v1/${path}`,
)

/** All paths with an answer of their own, longest first, so that the nearest is found first. */
export const OWN_PATHS = ALL.map(({ path }) => `/v1/${path}`).sort((a, b) => b.length - a.length)
