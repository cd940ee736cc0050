import type { AbortSignalLike } from '../../src/lib/abort.ts'
import { TransportError } from '../../src/transport/transport.ts'
import type { FakeClock } from './fake-clock.ts'
import type { FakeUpstream, SeenRequest } from './test-app.ts'

/** What an upstream does, on the clock of the test. */
export interface Play {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Before the headers. */
  readonly afterMs?: number
  /** Text, bytes, and pauses in ms. */
  readonly body?: readonly (string | Uint8Array | number)[]
  /** How the body ends: well, cut off, or never. */
  readonly end?: 'close' | 'reset' | 'stall'
}

export const SSE = { 'content-type': 'text/event-stream' }
export const JSON_TYPE = { 'content-type': 'application/json' }

/** An upstream that keeps the contract of a transport: silence, abort, gathering, back-pressure. */
export function play(script: Play): FakeUpstream {
  return async (request, signal, clock) => {
    const stage = createStage(request, signal, clock)
    const { status = 200, headers = JSON_TYPE, afterMs = 0 } = script
    await stage.pause(afterMs)
    const next = createPieces(script, stage)
    const limit = request.gatherBytes(status, headers)
    const chunks: Uint8Array[] = []
    let size = 0
    let isWorthIt = true
    for (let isOpen = limit > 0; isOpen; isOpen = size <= limit && isWorthIt) {
      const chunk = await next()
      if (chunk === undefined) return { status, headers, body: Buffer.concat(chunks) }
      chunks.push(chunk)
      size += chunk.length
      isWorthIt = request.onGathered?.(chunk) !== false
    }
    return { status, headers, body: streamOf(chunks, next, stage) }
  }
}

/** The same upstream for every call, or one play after the other by host. */
export function stagedBy(plays: Readonly<Record<string, Play | readonly Play[]>>): FakeUpstream {
  const turns = new Map<string, number>()
  return (request, signal, clock) => {
    const own = plays[request.host]
    if (own === undefined) throw new TransportError('not-sent', 'nobody is there')
    const turn = turns.get(request.host) ?? 0
    turns.set(request.host, turn + 1)
    const script = 'length' in own ? (own[turn] ?? own.at(-1)) : own
    return play(script ?? {})(request, signal, clock)
  }
}

interface Stage {
  /** Waits; throws when the client leaves, or when the silence is too long. */
  pause(ms: number): Promise<void>
  readonly request: SeenRequest
  readonly signal: AbortSignalLike
  over(): void
}

function createStage(request: SeenRequest, signal: AbortSignalLike, clock: FakeClock): Stage {
  const { exchange } = request
  return {
    request,
    signal,
    over: () => void (exchange.isOver = true),
    pause: (ms) =>
      new Promise((resolve, reject) => {
        const onAbort = (): void => {
          cancel()
          exchange.isOver = exchange.isAborted = true
          reject(new TransportError('aborted', 'the caller has left'))
        }
        const done = (): void => {
          signal.removeEventListener('abort', onAbort)
          if (ms < request.timeoutMs) return resolve()
          exchange.isOver = true
          reject(new TransportError('timeout', 'silence'))
        }
        const cancel = ms === 0 ? () => {} : clock.after(Math.min(ms, request.timeoutMs), done)
        if (signal.aborted) return onAbort()
        if (ms === 0) return resolve()
        signal.addEventListener('abort', onAbort)
      }),
  }
}

const encoder = new TextEncoder()

function createPieces(
  { body = [], end = 'close' }: Play,
  stage: Stage,
): () => Promise<Uint8Array | undefined> {
  let at = 0
  return async () => {
    await stage.pause(0)
    while (at < body.length) {
      const piece = body[at++]!
      if (typeof piece !== 'number') return typeof piece === 'string' ? encoder.encode(piece) : piece
      await stage.pause(piece)
    }
    if (end === 'stall') await stage.pause(Infinity)
    stage.over()
    if (end === 'reset') throw new TransportError('broken', 'the connection was reset')
    return undefined
  }
}

function streamOf(
  head: readonly Uint8Array[],
  next: () => Promise<Uint8Array | undefined>,
  stage: Stage,
): ReadableStream<Uint8Array> {
  const waiting = [...head]
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        stage.signal.addEventListener('abort', () => {
          if (stage.request.exchange.isOver) return
          stage.request.exchange.isOver = stage.request.exchange.isAborted = true
          controller.error(new TransportError('aborted', 'the caller has left'))
        })
      },
      async pull(controller) {
        try {
          const chunk = waiting.shift() ?? (await next())
          if (chunk === undefined) controller.close()
          else controller.enqueue(chunk)
        } catch (error) {
          controller.error(error)
        }
      },
      cancel() {
        stage.request.exchange.isOver = stage.request.exchange.isAborted = true
      },
    },
    { highWaterMark: 0 },
  )
}

/** Events of a stream as text, one for each value. */
export const events = (...values: unknown[]): string =>
  values.map((value) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`).join('')

/** One chunk of a chat stream. */
export const chunk = (content: string, finish: string | null = null): object => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  choices: [{ index: 0, delta: { content }, finish_reason: finish }],
})

/** A chat stream in one piece for each word, well ended. */
export const chatStream = (...words: readonly string[]): Play => ({
  headers: SSE,
  body: [...words.map((word) => events(chunk(word))), events(chunk('', 'stop')), events('[DONE]')],
})

/** A believable chat answer. */
export const chatAnswer = (content = 'fine'): Play => ({
  body: [
    JSON.stringify({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    }),
  ],
})

/** An OpenAI error envelope. */
export const refusal = (status: number, code = 'some_code', headers: Record<string, string> = {}): Play => ({
  status,
  headers: { ...JSON_TYPE, ...headers },
  body: [JSON.stringify({ error: { message: `said ${code}`, type: 'some_type', param: null, code } })],
})

/** Never answers. */
export const silence: Play = { afterMs: Infinity }

/** What a client gets of a body, and whether it broke off. */
export async function readAll(response: Response): Promise<{ text: string; broke: boolean }> {
  const chunks: Uint8Array[] = []
  try {
    for await (const chunk of response.body ?? []) chunks.push(chunk)
    return { text: Buffer.concat(chunks).toString(), broke: false }
  } catch {
    return { text: Buffer.concat(chunks).toString(), broke: true }
  }
}
