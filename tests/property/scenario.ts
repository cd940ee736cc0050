/*
 * property: the promise "a request fails only when no upstream could have answered it", over random pools and faults.
 *
 * scenario  what is thrown: a pool, what each upstream does, a request or two; plain data, made of a seed
 * scripts   the bytes and breaks that a script stands for
 * verdict   what the contract calls each script
 * oracle    what the contract demands of a whole walk over the pool, and what the client must get
 * stage     plays a scenario in this process, on a clock that jumps
 * sockets   plays it through Node's server and real upstreams
 * report    groups what went wrong and makes it small
 */
import { createDice } from '../support/dice.ts'
import { TOKEN } from '../support/test-app.ts'

/** The longest silence of an upstream unless it has its own, ms. */
export const TIMEOUT_MS = 2_000

export type Endpoint = 'chat' | 'completions' | 'responses' | 'embeddings'
export const PATHS = {
  chat: 'chat/completions',
  completions: 'completions',
  responses: 'responses',
  embeddings: 'embeddings',
} as const satisfies Record<Endpoint, string>

export const preambles = [
  'comment',
  'blank',
  'ping',
  'braces',
  'no-json',
  'role',
  'empty-delta',
  'filter',
] as const
export type Preamble = (typeof preambles)[number]
const contents = ['text', 'reasoning', 'tool-call', 'refusal', 'parts', 'length'] as const
const labels = ['right', 'right', 'right', 'plain', 'html', 'octets', 'swapped', 'none'] as const
export type Label = (typeof labels)[number]
const framings = ['blank-line', 'blank-line', 'crlf', 'one-lf', 'no-last-blank'] as const
const endings = ['done', 'done', 'done-then-cut', 'done-then-silence', 'finish-only'] as const

/** A good answer: a stream where one was asked for, else whole. */
export interface GoodAnswer {
  readonly preamble: readonly Preamble[]
  readonly content: (typeof contents)[number]
  readonly framing: (typeof framings)[number]
  readonly ending: (typeof endings)[number]
  /** Sent in pieces of so many bytes; 0 = event by event. */
  readonly pieceBytes: number
  /** White space before a whole answer, as keep-alive. */
  readonly isPadded: boolean
}

const errorShapes = [
  'envelope',
  'flat',
  'string',
  'array',
  'detail',
  'base_resp',
  'error_code',
  'page',
  'empty',
  'truncated',
] as const
/** Inside a 200 an error has further forms: a Responses object that failed, and a choice that did. */
const insideShapes = [
  'envelope',
  'envelope',
  'flat',
  'string',
  'array',
  'detail',
  'base_resp',
  'error_code',
  'failed',
  'finish',
] as const
export type ErrorShape = (typeof errorShapes)[number] | (typeof insideShapes)[number]
/** What the words and codes of an error speak of. */
const meanings = [
  'plain',
  'too-long',
  'rate',
  'account',
  'capacity',
  'content',
  'model',
  'auth',
  'broken',
  'affordable',
  'encrypted',
] as const
export type Meaning = (typeof meanings)[number]

/** What an upstream does with every request of a scenario. */
export type Script = {
  /** Before the headers, as a share of the upstream's timeout. */
  readonly delay: number
  readonly label: Label
} & (
  | ({ readonly does: 'answer' } & GoodAnswer)
  /** A good answer that ends after `at` thousandths of its bytes; `close` (in order) for whole answers only. */
  | ({
      readonly does: 'cut'
      readonly at: number
      readonly how: 'reset' | 'silence' | 'close'
    } & GoodAnswer)
  /** A preamble, then comments for ever: never a content. */
  | { readonly does: 'chatter'; readonly preamble: readonly Preamble[] }
  /** An HTTP error, or any other status that is no answer. */
  | {
      readonly does: 'refuse'
      readonly status: number
      readonly meaning: Meaning
      readonly shape: ErrorShape
      readonly words: number
      readonly hint: 'none' | 'seconds' | 'ms' | 'date' | 'absurd'
    }
  /** An error inside a 200: whole, as the first event, or after a preamble. */
  | {
      readonly does: 'err-inside'
      readonly meaning: Meaning
      readonly shape: ErrorShape
      readonly words: number
      readonly preamble: readonly Preamble[]
    }
  /** Below HTTP. */
  | {
      readonly does: 'fail'
      readonly how: 'not-sent' | 'connect-timeout' | 'broken' | 'silence' | 'undecodable'
    }
  /** A page with status 200. */
  | { readonly does: 'page' }
  /** 200 without content. */
  | {
      readonly does: 'empty'
      readonly form: 'no-choices' | 'no-content' | 'no-bytes' | 'braces'
      readonly preamble: readonly Preamble[]
    }
  /** A good answer, whole where a stream was asked for, and the other way round. */
  | { readonly does: 'other-form' }
  /** Good answers, but for requests with this. */
  | ({ readonly does: 'lack'; readonly what: Need; readonly words: number } & GoodAnswer)
)
export type Need = 'tools' | 'images' | 'length'

export interface ScriptedModel {
  /** Its address is `https://h<host>.test/v1`. */
  readonly host: number
  readonly model: number
  readonly key: string
  readonly priority: number
  readonly weight: number
  /** ms; undefined = the one of the settings. */
  readonly timeoutMs: number | undefined
  readonly script: Script
}

export interface Scenario {
  readonly seed: number
  readonly upstreams: readonly ScriptedModel[]
  readonly endpoint: Endpoint
  readonly stream: boolean
  /** `auto`, or a model that at least one has. */
  readonly requested: string
  readonly need: Need | undefined
  readonly strategy: string
  readonly affinity: 'off' | 'conversation'
  /** Seconds. */
  readonly heartbeat: number
  readonly maxAttempts: number | undefined
  /** Whether all retries of the last 10 s were spent by others. */
  readonly isBudgetSpent: boolean
  /** The same request again, at once or when all that rested is awake again. */
  readonly again: 'never' | 'at once' | 'days later'
}

/** Most hosts of a pool. */
export const HOSTS = 6

export const nameOf = (index: number): string => `u${index}`
export const modelOf = ({ model }: ScriptedModel): string => `m${model}`

/** What scenarios may hold. `sockets` leaves out what takes time, and what the transport alone can play. */
export type Range = 'all' | 'sockets'

export function scenarioOf(seed: number, range: Range = 'all'): Scenario {
  const dice = createDice(Math.imul(seed, 2_654_435_761) >>> 0)
  for (let warm = 0; warm < 4; warm++) dice()
  const chance = (p: number): boolean => dice() < p
  const upTo = (n: number): number => Math.floor(dice() * n)
  const oneOf = <T>(list: readonly T[]): T => list[upTo(list.length)]!
  const someOf = <T>(list: readonly T[], most: number): T[] =>
    Array.from({ length: chance(0.4) ? 0 : upTo(most + 1) }, () => oneOf(list))

  const endpoint = oneOf<Endpoint>(['chat', 'chat', 'chat', 'completions', 'responses', 'embeddings'])
  const stream = endpoint !== 'embeddings' && chance(0.5)
  const good = (): GoodAnswer => {
    const framing =
      endpoint === 'responses' ? oneOf(['blank-line', 'crlf', 'no-last-blank'] as const) : oneOf(framings)
    const preamble = someOf(preambles, 3)
    return {
      // A line that is no JSON may be the first of an event of several, unless a blank line ends it.
      preamble: framing === 'one-lf' ? preamble.filter((name) => name !== 'no-json') : preamble,
      content: endpoint === 'chat' ? oneOf(contents) : 'text',
      framing,
      ending: oneOf(endings),
      pieceBytes: chance(0.7) ? 0 : 7 + upTo(90),
      isPadded: chance(0.1),
    }
  }
  const scriptOf = (pGood: number): Script => {
    const slow = range === 'all' && chance(0.25) ? oneOf([0.13, 0.47, 0.91]) : 0
    const common = { delay: slow, label: oneOf(labels) }
    if (chance(pGood)) return { does: 'answer', ...common, ...good() }
    const words = upTo(100)
    const kind = upTo(100)
    if (kind < 40) return { does: 'refuse', ...common, words, ...refusal(), hint: oneOf(HINTS) }
    if (kind < 54) {
      // Choices and outputs are content of other endpoints.
      const shape = oneOf(endpoint === 'embeddings' ? insideShapes.slice(0, -2) : insideShapes)
      return {
        does: 'err-inside',
        ...common,
        words,
        shape,
        meaning: oneOf(INSIDE),
        preamble: someOf(preambles, 3),
      }
    }
    if (kind < 66) {
      const silences = range === 'all' ? (['silence'] as const) : []
      const how = oneOf([
        'not-sent',
        'not-sent',
        'broken',
        'undecodable',
        'connect-timeout',
        ...silences,
      ] as const)
      return {
        does: 'fail',
        ...common,
        how: range === 'sockets' && how === 'connect-timeout' ? 'not-sent' : how,
      }
    }
    if (kind < 78) {
      const how = range === 'sockets' || chance(0.7) ? 'reset' : 'silence'
      return {
        does: 'cut',
        ...common,
        ...good(),
        at: upTo(1_000),
        how: !stream && chance(0.3) ? 'close' : how,
      }
    }
    if (kind < 82 && stream && range === 'all')
      return { does: 'chatter', ...common, preamble: someOf(preambles, 2) }
    if (kind < 86) return { does: 'page', ...common }
    if (kind < 90) {
      const form = oneOf(['no-choices', 'no-content', 'no-content', 'no-bytes', 'braces'] as const)
      return { does: 'empty', ...common, form, preamble: someOf(preambles, 2) }
    }
    if (kind < 93 && endpoint !== 'embeddings') return { does: 'other-form', ...common }
    return { does: 'lack', ...common, ...good(), words, what: oneOf(['tools', 'images', 'length']) }
  }
  const refusal = (): { status: number; meaning: Meaning; shape: ErrorShape } => {
    const shape = oneOf(errorShapes)
    const [statuses, itsMeanings] = oneOf(endpoint === 'responses' ? [...REFUSALS, ENCRYPTED] : REFUSALS)
    const status = oneOf(statuses)
    return { status, meaning: oneOf(itsMeanings), shape }
  }

  const pGood = oneOf([0, 0.1, 0.3, 0.3, 0.6])
  const models = oneOf([1, 2, 3])
  const hosts = oneOf([1, 2, 4, HOSTS])
  const tiers = oneOf([1, 1, 2, 3])
  const oneModel = endpoint === 'embeddings' && chance(0.6)
  const taken = new Set<string>()
  const upstreams = Array.from({ length: 1 + upTo(6) }, (_, index): ScriptedModel => {
    const host = upTo(hosts)
    const model = oneModel ? 0 : upTo(models)
    const shared = `key-of-h${host}`
    const isShared = chance(0.15) && !taken.has(`${shared} ${model}`)
    if (isShared) taken.add(`${shared} ${model}`)
    return {
      host,
      model,
      key: isShared ? shared : `key-${nameOf(index)}`,
      priority: upTo(tiers),
      weight: oneOf([1, 1, 1, 5, 0.1]),
      timeoutMs: range === 'all' && chance(0.15) ? oneOf([1_000, 3_000]) : undefined,
      script: scriptOf(pGood),
    }
  })
  return {
    seed,
    upstreams,
    endpoint,
    stream,
    requested: chance(0.85) ? 'auto' : modelOf(oneOf(upstreams)),
    need: endpoint === 'chat' && chance(0.5) ? oneOf(['tools', 'images', 'length'] as const) : undefined,
    // On sockets the gateway throws its own dice, which nobody could throw again.
    strategy: oneOf(
      range === 'sockets'
        ? ['round_robin', 'in_order']
        : ['random', 'round_robin', 'least_busy', 'fastest', 'headroom', 'in_order'],
    ),
    affinity: chance(0.3) ? 'conversation' : 'off',
    heartbeat: range === 'all' && chance(0.15) ? 1 : 0,
    maxAttempts: chance(0.05) ? 1 + upTo(3) : undefined,
    isBudgetSpent: range === 'all' && chance(0.06),
    again: range === 'sockets' ? 'never' : oneOf(['never', 'never', 'at once', 'days later'] as const),
  }
}

const HINTS = ['none', 'none', 'seconds', 'ms', 'date', 'absurd'] as const
const INSIDE: readonly Meaning[] = [
  'plain',
  'too-long',
  'rate',
  'account',
  'capacity',
  'auth',
  'broken',
  'broken',
]

/** Statuses that come with the same meanings. */
const REFUSALS: readonly (readonly [statuses: readonly number[], meanings: readonly Meaning[]])[] = [
  [[400, 400, 413, 415, 422], ['plain']],
  [[400, 413, 422], ['too-long']],
  [
    [400, 422],
    ['rate', 'account', 'capacity'],
  ],
  [[400, 403, 422, 451], ['content']],
  [[401, 403], ['plain']],
  [[402], ['account', 'affordable']],
  [[413], ['rate']],
  [[429], ['rate', 'plain']],
  [[429], ['account']],
  [[404, 410], ['model']],
  [[404, 405, 501], ['plain']],
  [[408], ['plain']],
  [
    [407, 409, 411, 412, 414, 416, 417, 418, 421, 423, 424, 425, 426, 428, 431, 440, 444, 449, 460, 498],
    ['plain'],
  ],
  [
    [500, 502, 504, 505, 507, 520, 522, 524, 530, 599],
    ['broken', 'plain'],
  ],
  [
    [503, 529],
    ['capacity', 'plain'],
  ],
  [[301, 302, 303, 307, 308], ['plain']],
  [[204, 304, 600, 799, 999], ['plain']],
]

/** Made by another account, which Responses alone knows. */
const ENCRYPTED = [[400], ['encrypted']] as const

/** The configuration, as its file would be. `urlOf` says where an upstream's host is. */
export function configOf(
  scenario: Scenario,
  urlOf: (upstream: ScriptedModel) => string,
  settings: object = {},
): object {
  const { strategy, affinity, heartbeat, maxAttempts } = scenario
  return {
    auth_token: TOKEN,
    models: scenario.upstreams.map((upstream, index) => ({
      name: nameOf(index),
      base_url: `${urlOf(upstream)}/v1`,
      api_key: upstream.key,
      model: modelOf(upstream),
      priority: upstream.priority,
      weight: upstream.weight,
      ...(upstream.timeoutMs !== undefined && { timeout: upstream.timeoutMs / 1_000 }),
    })),
    settings: {
      timeout: TIMEOUT_MS / 1_000,
      queue_timeout: 0,
      strategy,
      affinity,
      heartbeat,
      ...(maxAttempts !== undefined && { max_attempts: maxAttempts }),
      ...settings,
    },
  }
}

/** The client's request. */
export function bodyOf({ endpoint, stream, requested, need }: Scenario): object {
  const common = { model: requested, ...(stream && { stream }) }
  if (endpoint === 'embeddings') return { ...common, input: 'hi' }
  if (endpoint === 'completions') return { ...common, prompt: 'hi' }
  if (endpoint === 'responses') return { ...common, input: 'hi' }
  const text = need === 'length' ? 'long '.repeat(400) : 'hi'
  const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
  const content = need === 'images' ? [{ type: 'text', text }, image] : text
  const parameters = { type: 'object', properties: {} }
  const tools = [{ type: 'function', function: { name: 'f', parameters } }]
  return { ...common, messages: [{ role: 'user', content }], ...(need === 'tools' && { tools }) }
}

/** A scenario as a reader wants it. */
export function scenarioText(scenario: Scenario): string {
  const { upstreams, seed, endpoint, stream, requested, need, again, ...rest } = scenario
  const asked = [endpoint, stream ? 'stream' : 'whole', requested, need && `with ${need}`, `again: ${again}`]
  const settings = Object.entries(rest).map(([name, value]) => `${name}=${String(value)}`)
  const lines = upstreams.map(({ host, model, key, priority, weight, timeoutMs, script }, index) => {
    const place = `h${host} m${model} tier ${priority} weight ${weight} ${key}`
    const { does, ...details } = script
    return `  ${nameOf(index)} ${place}${timeoutMs ? ` timeout ${timeoutMs}` : ''}: ${does} ${JSON.stringify(details)}`
  })
  return [`seed ${seed}: ${asked.filter(Boolean).join(', ')}`, `  ${settings.join(' ')}`, ...lines].join('\n')
}
