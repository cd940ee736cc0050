import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { recordOf } from '../../config/problem.ts'
import { parsedJson } from '../../lib/json/parse.ts'

export type PretendUpstream = Awaited<ReturnType<typeof startPretendUpstream>>

/** Starts a pretend vendor on a free port of the loopback address: a real HTTP server that speaks OpenAI's chat format. */
export async function startPretendUpstream(profile: Profile) {
  const { name, perMinute } = profile
  const allow = createMinuteLimit(perMinute, () => performance.now())
  let isBroken = false

  async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const body = await text(incoming)
    const refuse = (status: number, code: string, message: string): void => {
      outgoing.writeHead(status, { 'content-type': 'application/json' })
      outgoing.end(JSON.stringify({ error: { message, type: 'demo_error', param: null, code } }))
    }
    if (incoming.method === 'POST' && incoming.url === '/break') {
      isBroken = !isBroken
      return void outgoing.end(isBroken ? `${name} answers 500 from now on\n` : `${name} works again\n`)
    }
    if (incoming.method !== 'POST' || incoming.url !== '/v1/chat/completions')
      return refuse(404, 'not_found', 'This demo upstream serves chat completions only.')
    if (isBroken) return refuse(500, 'server_error', 'Broken for the demo.')
    const chatRequest = parseChatRequest(body)
    if (chatRequest === undefined)
      return refuse(400, 'invalid_request', 'The body must be a JSON object with messages.')
    const { isAllowed, left, resetMs } = allow()
    if (perMinute < Infinity) {
      // OpenAI's headers; the reset is a duration.
      outgoing.setHeader('x-ratelimit-limit-requests', perMinute)
      outgoing.setHeader('x-ratelimit-remaining-requests', left)
      outgoing.setHeader('x-ratelimit-reset-requests', `${(resetMs / 1000).toFixed(3)}s`)
    }
    if (!isAllowed) {
      outgoing.setHeader('retry-after', Math.ceil(resetMs / 1000))
      return refuse(429, 'rate_limit_exceeded', `Rate limit reached: ${perMinute} requests a minute.`)
    }
    const gone = new AbortController()
    outgoing.once('close', () => gone.abort())
    const { signal } = gone
    const id = `chatcmpl-${randomUUID().slice(0, 8)}`
    const completion = completionOf(chatRequest, profile, { id, created: Math.floor(Date.now() / 1000) })
    await pause(profile.thinkingMs, undefined, { signal })
    if (!chatRequest.stream) {
      outgoing.setHeader('content-type', 'application/json')
      return void outgoing.end(completion.whole)
    }
    outgoing.setHeader('content-type', 'text/event-stream')
    outgoing.write(completion.opening)
    for (const word of completion.words) {
      outgoing.write(word)
      await pause(profile.wordMs, undefined, { signal })
    }
    outgoing.end(completion.closing)
  }

  const server = createServer((incoming, outgoing) => {
    // A client that leaves ends its request and nothing else.
    answer(incoming, outgoing).catch(() => outgoing.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    profile,
    /** The API is below `/v1`, and a POST to `/break` breaks or mends it. */
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => void server.close(),
  }
}

const MINUTE_MS = 60_000

/**
 * Counts requests in windows of a minute, each begun by the first request after the last. `now` is in ms. A request is
 * told how many are left in its window, itself taken off, and how many ms until all of them are there again: never 0.
 */
export function createMinuteLimit(perMinute: number, now: () => number) {
  let opened = -Infinity
  let taken = 0
  return () => {
    if (now() >= opened + MINUTE_MS) {
      opened = now()
      taken = 0
    }
    const isAllowed = taken < perMinute
    if (isAllowed) taken += 1
    return { isAllowed, left: perMinute - taken, resetMs: opened + MINUTE_MS - now() }
  }
}

type ChatRequest = NonNullable<ReturnType<typeof parseChatRequest>>

/** A chat request as far as a pretend upstream cares; undefined when it is no JSON object with messages. */
export function parseChatRequest(body: string) {
  const { messages, stream, stream_options, max_tokens, max_completion_tokens } = recordOf(parsedJson(body))
  if (!Array.isArray(messages)) return undefined
  const last = recordOf(messages.findLast((message: unknown) => recordOf(message).role === 'user'))
  const most = max_completion_tokens ?? max_tokens
  return {
    question: contentText(last.content),
    stream: stream === true,
    includeUsage: recordOf(stream_options).include_usage === true,
    inputTokens: Math.ceil(body.length / 4),
    /** Words that may be answered. */
    most: typeof most === 'number' && most > 0 ? most : Infinity,
  }
}

/** Content is a text or a list of parts. */
function contentText(content: unknown): string {
  const texts = Array.isArray(content) ? content.map((part) => recordOf(part).text) : [content]
  return texts.map((text) => (typeof text === 'string' ? text : '')).join(' ')
}

/**
 * Writes an answer in OpenAI's format: `whole` without `stream`, or the events of a stream before the first word, for each
 * word, and after the last. `created` is in epoch seconds.
 */
export function completionOf(request: ChatRequest, profile: Profile, made: { id: string; created: number }) {
  const all = piecesOf(answerTo(request.question, profile))
  const pieces = all.slice(0, request.most)
  const finish_reason = pieces.length < all.length ? 'length' : 'stop'
  const usage = {
    prompt_tokens: request.inputTokens,
    completion_tokens: pieces.length,
    total_tokens: request.inputTokens + pieces.length,
  }
  const message = { role: 'assistant', content: pieces.join('') }
  const head = { ...made, model: `demo-${profile.name}` }
  const event = (choices: readonly object[], more: object = {}): string =>
    `data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices, ...more })}\n\n`
  const chunk = (delta: object, finish: string | null = null): string =>
    event([{ index: 0, delta, finish_reason: finish }])
  return {
    whole: JSON.stringify({
      ...head,
      object: 'chat.completion',
      choices: [{ index: 0, message, finish_reason }],
      usage,
    }),
    opening: chunk({ role: 'assistant', content: '' }),
    words: pieces.map((content) => chunk({ content })),
    closing: `${chunk({}, finish_reason)}${request.includeUsage ? event([], { usage }) : ''}data: [DONE]\n\n`,
  }
}

/** What the pretend upstreams can talk about; the first that the question fits is told, else the last. */
const topics: readonly (readonly [RegExp, string])[] = [
  [
    /stream|token|chunk|sse/i,
    'A streamed answer is passed on chunk by chunk, as it comes. Until my first word was there the gateway could still have gone to another upstream without you noticing; since then this answer is mine alone, and nothing starts over.',
  ],
  [
    /limit|429|quota|rate/i,
    'Every answer of the limited upstream says in its headers how much is left. The gateway reads that and goes elsewhere in time. When many requests come at the same moment some do get a 429, and are sent on to the next upstream: you only ever see the answer.',
  ],
  [
    /fail|down|break|broke|error|outage/i,
    'Break the quick upstream with the line that the demo printed and ask again. The gateway gets a 500, asks the next upstream, and leaves the broken one alone for a second, then two, then four. One live request tries it again each time.',
  ],
  [
    /balanc|choose|chose|pick|strateg|which|who/i,
    'Here the strategy is round_robin without affinity, so that requests go around. In your own configuration it can go by weight, by speed or by what is left of a quota, and a conversation stays with the model that began it.',
  ],
  [
    /\b(?:hello|hi|hey|hallo|bonjour|hola)\b|你好/i,
    'Hello! I am no model at all, just a few prepared sentences, but everything between you and me is real: the gateway, the HTTP, the limits and the clock.',
  ],
  [
    /^/,
    'I cannot really answer that, since I am only a few prepared sentences. Ask me about streaming, limits, failures or how an upstream is chosen, or ask the same again and see who answers next.',
  ],
]

/** A short answer to the question, which says who wrote it. */
export function answerTo(question: string, profile: Profile): string {
  const [, text = ''] = topics.find(([about]) => about.test(question)) ?? []
  return `${profile.introduction} ${text}`
}

/** A text in pieces as a model would stream it: a word each, with the blank before it. */
export const piecesOf = (text: string): string[] => text.match(/\s*\S+/g) ?? []

/** What the pretend upstreams are like. */
export const profiles = [
  {
    name: 'quick',
    /** What the demo says of it. */
    summary: 'first word after 0.1 s',
    /** How it speaks of itself. */
    introduction: 'This is the quick upstream: my first word takes a tenth of a second.',
    /** From the request to the first word, in ms. */
    thinkingMs: 100,
    /** Between two words of a stream, in ms. */
    wordMs: 15,
    /** Requests in a minute. */
    perMinute: Infinity,
  },
  {
    name: 'slow',
    summary: 'first word after 2 s, then word by word',
    introduction: 'This is the slow upstream: I think for two seconds, then words drip.',
    thinkingMs: 2_000,
    wordMs: 60,
    perMinute: Infinity,
  },
  {
    name: 'limited',
    summary: '5 requests a minute, then 429',
    introduction: 'This is the limited upstream: I take five requests a minute.',
    thinkingMs: 300,
    wordMs: 25,
    perMinute: 5,
  },
]

type Profile = (typeof profiles)[number]
