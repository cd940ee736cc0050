import { completion, errorBody } from '../support/believable.ts'
import { answer, close, reset, stall } from '../support/scripted-scenes.ts'
import {
  startScriptedUpstream,
  type Exchange,
  type Scene,
  type ScriptedUpstream,
} from '../support/scripted-upstream.ts'

/** What becomes of a request at an upstream; one that came over a connection that was closing is `unheard`. */
export type Fate = 'well' | 'refused' | 'ambiguous' | 'breaks' | 'unheard'

/** One call, as its upstream saw it. */
export interface Call {
  readonly upstream: string
  readonly fate: Fate
  /** `performance.now()` when it came. */
  readonly at: number
}

/** All calls, by the id of the request. */
export type Book = Map<string, Call[]>

/** Events of a streamed answer, before the end mark. */
const EVENTS = 8

/** What an upstream answers to a request, told by its id. */
export const wholeAnswer = (upstream: string, id: string): string => completion(`${upstream} ${id}`)

/** The same as a stream. */
export function streamedAnswer(upstream: string, id: string): readonly string[] {
  const event = (delta: object, finish: string | null): string =>
    `data: ${JSON.stringify({ id, choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
  const parts = Array.from({ length: EVENTS }, (_, nth) =>
    event({ content: `${upstream} ${id} ${nth} 🚀` }, null),
  )
  return [...parts, event({}, 'stop'), 'data: [DONE]\n\n']
}

/** Faults before an answer; a stall costs as long as the timeout, so it is rare. */
const faults: readonly { readonly fate: Fate; readonly scene: Scene; readonly share: number }[] = [
  { fate: 'ambiguous', share: 4, scene: answer({ status: 500, body: errorBody('server_error') }) },
  { fate: 'ambiguous', share: 3, scene: close() },
  { fate: 'ambiguous', share: 3, scene: reset() },
  { fate: 'ambiguous', share: 1, scene: stall() },
  {
    fate: 'ambiguous',
    share: 3,
    scene: answer({ body: completion('cut').slice(0, 60), framing: 800, ending: 'close' }),
  },
  {
    fate: 'refused',
    share: 4,
    scene: answer({ status: 429, headers: { 'retry-after': '1' }, body: errorBody('rate_limit_exceeded') }),
  },
  {
    fate: 'refused',
    share: 3,
    scene: answer({ status: 503, headers: { 'content-type': 'text/html' }, body: '<html>busy</html>' }),
  },
  { fate: 'refused', share: 1, scene: answer({ status: 401, body: errorBody('invalid_api_key') }) },
  { fate: 'refused', share: 1, scene: answer({ status: 404, body: errorBody('model_not_found') }) },
  {
    fate: 'refused',
    share: 2,
    scene: answer({
      headers: { 'content-type': 'text/event-stream' },
      body: `data: ${errorBody('server_error')}\n\n`,
    }),
  },
  { fate: 'refused', share: 2, scene: answer({ body: '' }) },
  { fate: 'refused', share: 2, scene: answer({ status: 307, headers: { location: 'http://127.0.0.1:9/' } }) },
]

/** How often something goes wrong. */
const FAULT_SHARE = 0.25
const BREAK_SHARE = 0.1

interface Chaos {
  readonly name: string
  readonly book: Book
  readonly draw: () => number
  /** Told when a call begins (1) and when it is over (-1). */
  readonly count: (by: 1 | -1) => void
  /** Never fails: the one that can always save a request. */
  readonly isAnchor: boolean
}

/** An upstream that answers, fails or breaks off as the dice say. */
export function startChaosUpstream(chaos: Chaos): Promise<ScriptedUpstream> {
  const { name, book, draw, count, isAnchor } = chaos
  const scene: Scene = async (exchange) => {
    const text = Buffer.from(exchange.request.body).toString()
    const id = /id-[\w-]+/.exec(text)?.[0] ?? 'nobody'
    const note = (fate: Fate): void => {
      const call: Call = { upstream: name, fate, at: performance.now() }
      const calls = book.get(id)
      if (calls === undefined) book.set(id, [call])
      else calls.push(call)
    }
    // Closed as idle while the request was on its way.
    if (exchange.socket.writableEnded) return note('unheard')
    const fault = !isAnchor && draw() < FAULT_SHARE ? pick(draw) : undefined
    const breaks = !isAnchor && fault === undefined && draw() < BREAK_SHARE && text.includes('"stream":true')
    note(fault?.fate ?? (breaks ? 'breaks' : 'well'))
    count(1)
    await (fault?.scene(exchange) ??
      play(exchange, { name, id, draw, breaks, isStream: text.includes('"stream":true') }))
    count(-1)
  }
  return startScriptedUpstream(scene)
}

function pick(draw: () => number): (typeof faults)[number] {
  let rest = draw() * faults.reduce((sum, { share }) => sum + share, 0)
  return faults.find(({ share }) => (rest -= share) < 0) ?? faults[0]!
}

interface Play {
  readonly name: string
  readonly id: string
  readonly draw: () => number
  readonly breaks: boolean
  readonly isStream: boolean
}

async function play(exchange: Exchange, { name, id, draw, breaks, isStream }: Play): Promise<void> {
  if (!isStream)
    return answer({ body: wholeAnswer(name, id), framing: draw() < 0.3 ? 'chunked' : 'length' })(exchange)
  await exchange.head(200, { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' })
  const events = streamedAnswer(name, id)
  const last = breaks ? 1 + Math.floor(draw() * EVENTS) : events.length
  for (const event of events.slice(0, last)) {
    await sendInPieces(exchange, event, draw)
    if (draw() < 0.3) await new Promise((resolve) => setTimeout(resolve, draw() * 20))
  }
  if (!breaks) return void (await exchange.lastChunk())
  if (draw() < 0.5) await exchange.chunk(Buffer.from(events[last]!).subarray(0, 30))
  await new Promise((resolve) => setTimeout(resolve, 10))
  const how = draw()
  if (how < 0.4) exchange.reset()
  else if (how < 0.8) exchange.close()
  else await exchange.lastChunk()
}

/** Anywhere, in the middle of a character as well. */
async function sendInPieces(exchange: Exchange, event: string, draw: () => number): Promise<void> {
  const bytes = Buffer.from(event)
  const cut = draw() < 0.3 ? 1 + Math.floor(draw() * (bytes.length - 1)) : bytes.length
  await exchange.chunk(bytes.subarray(0, cut))
  if (cut < bytes.length) await exchange.chunk(bytes.subarray(cut))
}
