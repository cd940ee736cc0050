import { createAbort } from '../lib/abort.ts'
import { utf8Bytes } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import type { HeaderBag } from '../lib/headers.ts'
import { parsedJson } from '../lib/json/parse.ts'
import { createBodyParser, fieldsFor } from '../openai/request.ts'
import type { Ability, Cause, Failure, MeterReading } from '../pool/outcome.ts'
import type { Upstream } from '../pool/upstream.ts'
import { commitAnswer, discard, MOST_WHOLE_BYTES, readPrefix } from '../relay/commit.ts'
import { bodyOn } from '../relay/demand.ts'
import { sourceKeyOf } from '../relay/discovery.ts'
import { headersFor, relayedHeaders, urlFor } from '../relay/headers.ts'
import { modelEntriesIn, MOST_LIST_BYTES, type ModelListEntry } from '../relay/model-list.ts'
import { attemptFailureOf } from '../relay/secrets.ts'
import { TransportError, type Send, type UpstreamResponse } from '../transport/transport.ts'
import { classifyStatus, classifyTransport } from '../vendors/classify.ts'
import { meterReadings } from '../vendors/rate-limit-headers.ts'

/** What one upstream showed of itself. Holds no secret. */
export interface Probe {
  readonly upstream: Pick<Upstream, 'name' | 'model' | 'root'>
  /** Whether it has shown that it could serve: it answers with `spend`, and else its list has the model. */
  readonly ok: boolean
  /** The question for `/v1/models`. */
  readonly list: Step
  /** The names that it lists, and whether the model is one of them; undefined where no list came. */
  readonly names?: readonly string[] | undefined
  readonly isListed?: boolean | undefined
  /** What `spend` asked; absent where it was not, or the upstream serves no chats. */
  readonly chat?: Step | undefined
  readonly stream?: Step | undefined
  readonly can: Readonly<Partial<Record<Ability, boolean>>>
  readonly contextTokens?: number | undefined
  /** What its headers tell of limits. */
  readonly limits: readonly MeterReading[]
}

/** One request, until its first content. */
export interface Step {
  readonly ms: number
  /** Undefined where it was answered well. */
  readonly failure: StepFailure | undefined
}

interface HeardStep extends Step {
  readonly headers: HeaderBag
}

/** What came of asking for `/v1/models`; `models` is undefined where no list came. */
interface ListStep extends HeardStep {
  readonly models: readonly ModelListEntry[] | undefined
}

/** Why a request was not answered well. */
export interface StepFailure {
  readonly at: 'name' | 'connection' | 'tls' | 'models' | 'chat' | 'stream'
  readonly cause: Cause
  readonly status?: number | undefined
  /** In a few words of ours. */
  readonly reason?: string | undefined
  /** The vendor's own words on one line, its key masked. */
  readonly words?: string | undefined
  readonly url: string
}

/** Whom a request goes to, and with which key. */
type ProbeTarget = Pick<
  Upstream,
  'root' | 'query' | 'apiKey' | 'headers' | 'connectTimeoutMs' | 'timeoutMs' | 'route'
>

interface Question {
  readonly path: string
  readonly body?: readonly Uint8Array[]
  /** Whether the answer is to be read as it comes. */
  readonly stream?: boolean
}

/** A response with a success, or a failure. */
interface Answered {
  readonly ms: number
  readonly headers: HeaderBag
  readonly response?: UpstreamResponse
  readonly failure?: Failure
}

/** Nobody who answers at all takes longer for one token. */
const LONGEST_SILENCE_MS = 30_000
const ERROR_BYTES = 65_536

const isSuccess = (status: number): boolean => status >= 200 && status <= 299

/**
 * Asks upstreams as the gateway would: with its transport, its headers, and its reading of what comes back. What several
 * of one key ask for alike is asked once.
 */
export function createProber({ send, now, wall }: { send: Send } & Pick<Clock, 'now' | 'wall'>) {
  const lists = new Map<string, Promise<ListStep>>()

  async function ask(upstream: ProbeTarget, { path, body, stream }: Question): Promise<Answered> {
    const since = now()
    try {
      const response = await send(
        {
          method: body === undefined ? 'GET' : 'POST',
          url: urlFor(upstream, path, ''),
          headers: body === undefined ? headersFor(upstream, {}) : relayedHeaders(upstream, {}),
          ...(body !== undefined && { body }),
          route: upstream.route,
          connectTimeoutMs: upstream.connectTimeoutMs,
          timeoutMs: Math.min(upstream.timeoutMs, LONGEST_SILENCE_MS),
          gatherBytes(status) {
            if (!isSuccess(status)) return ERROR_BYTES
            if (stream) return 0
            return body === undefined ? MOST_LIST_BYTES : MOST_WHOLE_BYTES
          },
        },
        createAbort().signal,
      )
      const { status, headers } = response
      const ms = now() - since
      if (isSuccess(status)) return { ms, headers, response }
      const prefix = await readPrefix(response.body, ERROR_BYTES)
      discard(prefix.body)
      const failure = classifyStatus({ status, headers, body: prefix.bytes, wallNow: wall() })
      return { ms, headers, failure }
    } catch (error) {
      return { ms: now() - since, headers: {}, failure: transportFailure(error) }
    }
  }

  async function readList(upstream: ProbeTarget): Promise<ListStep> {
    const { ms, headers, response, failure } = await ask(upstream, { path: 'models' })
    const body = response?.body
    const isWhole = body instanceof Uint8Array
    if (!isWhole) discard(body)
    const models = isWhole ? modelEntriesIn(parsedJson(new TextDecoder().decode(body))) : undefined
    return { ms, headers, models, failure: stepFailure(failure, upstream, 'models') }
  }

  /** The same for all whose list it is. */
  function listOf(upstream: ProbeTarget): Promise<ListStep> {
    const key = sourceKeyOf(upstream)
    const known = lists.get(key) ?? readList(upstream)
    lists.set(key, known)
    return known
  }

  /** Asks for one token. Who does not know `max_tokens`, or can't say a word with one, is asked for a few more. */
  async function askOne(upstream: Upstream, more: { stream?: true }): Promise<Answered> {
    const chat = { model: upstream.model, messages: [{ role: 'user', content: 'Hi' }], ...more }
    const askWith = (most: Readonly<Record<string, number>>): Promise<Answered> =>
      ask(upstream, { path: 'chat/completions', body: relayedBody(upstream, { ...chat, ...most }), ...more })
    const first = await askWith({ max_tokens: 1 })
    if (!/max_(?:completion_|output_)?tokens/.test(first.failure?.words ?? '')) return first
    return askWith({ max_completion_tokens: 16 })
  }

  async function spendOn(upstream: Upstream, at: 'chat' | 'stream'): Promise<HeardStep> {
    const isStream = at === 'stream'
    const { ms, headers, response, failure } = await askOne(upstream, isStream ? { stream: true } : {})
    const found = response === undefined ? failure : await failureIn(response, isStream)
    return { ms, headers, failure: stepFailure(found, upstream, at) }
  }

  /** What is wrong with a success, read to its end; undefined = nothing. */
  async function failureIn(response: UpstreamResponse, stream: boolean): Promise<Failure | undefined> {
    try {
      const asked = { endpoint: 'chat', stream, isFree: false, hasOthers: false, wallNow: wall() } as const
      const commit = await commitAnswer(response, { ...asked, onRead: () => true })
      if (commit.kind === 'rejected') return commit.failure
      if (commit.kind === 'stream') while (!(await commit.reader.read()).done);
      return undefined
    } catch (error) {
      return transportFailure(error)
    }
  }

  /** @param spend asks for one token besides, and for one more as a stream: that may cost something */
  async function probe(upstream: Upstream, { spend = false }): Promise<Probe> {
    const list = await listOf(upstream)
    const { models, failure } = list
    const listed = models?.find(({ id, name }) =>
      [id, name].some((each) => isSameModel(each, upstream.model)),
    )
    const served = upstream.presumed?.endpoints ?? upstream.endpoints
    // Nobody is asked who could not be reached.
    const isAsked = spend && served.has('chat') && (failure === undefined || failure.at === 'models')
    const chat = isAsked ? await spendOn(upstream, 'chat') : undefined
    const stream = isAsked && chat?.failure === undefined ? await spendOn(upstream, 'stream') : undefined
    const heard = [list, chat, stream].flatMap((step) =>
      meterReadings(step?.headers ?? {}, { wallNow: wall() }),
    )
    const { can, contextTokens, presumed } = upstream
    return {
      upstream,
      ok: isAsked ? stream !== undefined && stream.failure === undefined : listed !== undefined,
      list,
      names: models?.map(({ id }) => id),
      isListed: models && listed !== undefined,
      chat,
      stream,
      can: { ...presumed?.can, ...listed?.told.can, ...can },
      contextTokens: contextTokens ?? listed?.told.context ?? presumed?.contextTokens,
      // What was said last of a limit counts.
      limits: [...new Map(heard.map((reading) => [reading.meter, reading])).values()],
    }
  }
  return { listOf, probe }
}

/** A client's body as the gateway would send it on, with the changes of `models[].params`. */
function relayedBody(upstream: Upstream, body: object): readonly Uint8Array[] {
  const bytes = utf8Bytes(JSON.stringify(body))
  const edits = Object.values(upstream.edits ?? {})
  const parser = createBodyParser('application/json', undefined, fieldsFor(edits))
  parser.push(bytes)
  return bodyOn(upstream, parser.end([bytes]))
}

/** @throws what is no transport's failure: that would be a mistake of ours */
function transportFailure(error: unknown): Failure {
  if (!(error instanceof TransportError)) throw error
  const { failure, reason } = error
  return failure === 'aborted' || failure === 'shortage'
    ? classifyTransport('broken', reason)
    : classifyTransport(failure, reason)
}

function stepFailure(
  failure: Failure | undefined,
  upstream: ProbeTarget,
  at: 'models' | 'chat' | 'stream',
): StepFailure | undefined {
  if (failure === undefined) return undefined
  const path = at === 'models' ? 'models' : 'chat/completions'
  const { url, reason, words } = attemptFailureOf(failure, upstream, path) ?? { url: upstream.root }
  const { cause, status } = failure
  return { at: failure.class === 'not-sent' ? placeOf(reason ?? '') : at, cause, status, reason, words, url }
}

/** How far a connection came that was none, by the words of `transport/transport.ts`. */
function placeOf(reason: string): StepFailure['at'] {
  if (reason.startsWith('host name')) return 'name'
  return reason.includes('TLS') ? 'tls' : 'connection'
}

/** Case counts nowhere. */
const isSameModel = (listed: string | undefined, model: string): boolean =>
  listed?.toLowerCase() === model.toLowerCase()
