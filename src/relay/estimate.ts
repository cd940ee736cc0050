import { createByteSearch } from '../lib/byte-search.ts'
import { numberValue } from '../lib/json-value.ts'
import type { JsonScan } from '../lib/json-field.ts'
import type { Endpoint } from '../pool/vocabulary.ts'

/** What a request will use of a token quota, estimated from its bytes. */
export interface TokenEstimate {
  /** Undefined = the endpoint counts no tokens. */
  readonly inputTokens: number | undefined
  /** For all choices together; undefined = the client named no maximum. */
  readonly outputTokens: number | undefined
  /** How many answers the client wants (`n`): each costs its output. */
  readonly choices: number
}

/** The top-level fields that an estimate reads. */
export const ESTIMATE_FIELDS = ['max_tokens', 'max_completion_tokens', 'max_output_tokens', 'n'] as const

/** OpenAI's rule of thumb for English text; other languages use more tokens, `usage` corrects it afterwards. */
const BYTES_A_TOKEN = 4
/** What a picture costs at the vendors' usual detail, in tokens. */
const IMAGE_TOKENS = 800
/** No model takes or gives more; beyond it a number is a mistake and would not add up. */
const MOST_TOKENS = 1e9
const SPENDS_TOKENS = new Set<Endpoint>([
  'chat',
  'completions',
  'responses',
  'embeddings',
  'moderations',
  'rerank',
])
const WRITES = new Set<Endpoint>(['chat', 'completions', 'responses'])

/** Bounded work: four fields, and one pass over the body for pictures in it. */
export function estimateOf(scan: JsonScan, endpoint: Endpoint): TokenEstimate {
  if (!SPENDS_TOKENS.has(endpoint)) return { inputTokens: undefined, outputTokens: undefined, choices: 1 }
  const inputTokens = inputOf(scan.bytes)
  if (!WRITES.has(endpoint)) return { inputTokens, outputTokens: 0, choices: 1 }
  const most =
    numberOf(scan, 'max_completion_tokens') ??
    numberOf(scan, 'max_tokens') ??
    numberOf(scan, 'max_output_tokens')
  const choices = Math.max(1, Math.min(128, Math.floor(numberOf(scan, 'n') ?? 1)))
  return {
    inputTokens,
    outputTokens: most === undefined ? undefined : Math.min(MOST_TOKENS, Math.max(0, most) * choices),
    choices,
  }
}

function numberOf(scan: JsonScan, name: string): number | undefined {
  const span = scan.fields.get(name)?.at(-1)
  return span?.kind === 'number' ? numberValue(scan.bytes, span) : undefined
}

const QUOTE = 0x22
const nextData = createByteSearch(new TextEncoder().encode(';base64,'))
/** What comes behind so many files counts as text: no request has more, and each costs a search. */
const MOST_IMAGES = 1_000
/** Shorter bodies hold no picture worth the search. */
const LEAST_WITH_IMAGE = 2048

/** Text by its bytes; a file inside it (a `data:` URL) by its number, since its bytes say nothing of its tokens. */
function inputOf(bytes: Uint8Array): number {
  let images = 0
  let imageBytes = 0
  let at = bytes.length > LEAST_WITH_IMAGE ? nextData(bytes, 0) : -1
  while (at >= 0 && images < MOST_IMAGES) {
    const end = bytes.indexOf(QUOTE, at)
    if (end < 0) break
    images += 1
    imageBytes += end - at
    at = nextData(bytes, end)
  }
  return Math.ceil((bytes.length - imageBytes) / BYTES_A_TOKEN) + images * IMAGE_TOKENS
}
