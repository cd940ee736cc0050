/** The load generator of the HTTP bench: raw sockets, one request at a time on each. */
import { bodyText, type Shape } from './body.ts'
import { Line } from './line.ts'

/** What one run of a load is. */
export interface Load {
  readonly port: number
  readonly path: string
  /** What the request asks for. */
  readonly model: string
  readonly connections: number
  readonly seconds: number
  /** What the body is made of. */
  readonly shape: Shape
  /** Size of the request's body, bytes. */
  readonly bodyBytes: number
  /** What the upstream shall do. */
  readonly answer: 'json' | 'sse-paced' | 'sse-slow' | 'sse-flat' | 'sse-held'
  /** Requests a second for all connections together; 0 = each sends again as soon as it is answered. */
  readonly rate: number
  /** Whether every request comes with another affinity key. */
  readonly manyKeys?: boolean
}

/** What came of it. */
export interface LoadResult {
  readonly requests: number
  readonly failures: number
  readonly chunks: number
  readonly seconds: number
  /** Ms from sending to the end of the answer; of a paced stream, from the upstream's write of a chunk to its arrival. */
  readonly p50: number
  readonly p99: number
}

const TOKEN = 'sk-bench'
/** How long a run may go on after its time: a slow stream lasts 5 s. */
const LAST_ANSWERS_MS = 8_000

function requestText({ path, model, shape, bodyBytes, answer }: Load): string {
  const text = bodyText({ shape, bytes: bodyBytes, model, answer })
  return `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${TOKEN}\r\ncontent-type: application/json\r\nx-portkey-provider: openai\r\nx-portkey-custom-host: http://127.0.0.1:19500/v1\r\naccept: application/json\r\nuser-agent: OpenAI/JS 6.49.0\r\ncontent-length: ${text.length}\r\n\r\n${text}`
}

/** Another user in the body of every request, in nine digits, so that its length stays. */
function withUser(text: string, nth: number): Buffer {
  return Buffer.from(text.replace('"user":""', `"user":"${nth.toString().padStart(9, '0')}"`))
}

/** Runs a load to its end. */
export async function runLoad(load: Load): Promise<LoadResult> {
  const text = requestText(load)
  const keyed = text.replace(/content-length: (\d+)/, (_, length) => `content-length: ${Number(length) + 9}`)
  const request = Buffer.from(text)
  const latencies: number[] = []
  const lines: Line[] = []
  let sent = 0
  let failures = 0
  const startedAt = performance.now()
  const endsAt = startedAt + load.seconds * 1_000
  let nextAt = startedAt
  await Promise.all(
    Array.from(
      { length: load.connections },
      (_, nth) =>
        new Promise<void>((resolve) => {
          let sentAt = 0
          const send = (): void => {
            const now = performance.now()
            if (now >= endsAt) return stop()
            if (load.rate === 0) {
              sentAt = now
              return write()
            }
            // Open loop: the time of a request is counted from when it was due, whether or not a line was free.
            const due = nextAt
            nextAt += 1_000 / load.rate
            sentAt = due
            setTimeout(write, Math.max(0, due - now))
          }
          const write = (): void => {
            // A timer may fire up to a millisecond early.
            sentAt = Math.min(sentAt, performance.now())
            line.send(load.manyKeys === true ? withUser(keyed, sent++) : request)
          }
          const stop = (): void => {
            line.close()
            resolve()
          }
          const line = new Line(
            load.port,
            (status) => {
              if (status === 200) latencies.push(performance.now() - sentAt)
              else failures += 1
              send()
            },
            () => {
              if (performance.now() < endsAt) failures += 1
              resolve()
            },
          )
          lines.push(line)
          // Streams begin one a millisecond: opened at once, their chunks would come at once too.
          if (load.answer === 'json') send()
          else setTimeout(send, nth)
          setTimeout(stop, load.seconds * 1_000 + LAST_ANSWERS_MS).unref()
        }),
    ),
  )
  const ofChunks = lines.flatMap(({ delays }) => delays)
  const sorted = Float64Array.from(ofChunks.length > 0 ? ofChunks : latencies).sort()
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
  return {
    requests: latencies.length,
    failures,
    chunks: lines.reduce((sum, { chunks }) => sum + chunks, 0),
    seconds: (performance.now() - startedAt) / 1_000,
    p50: at(0.5),
    p99: at(0.99),
  }
}

/** How long the next hundred streams may take to open; who needs longer does not hold that many. */
const OPEN_MS = 15_000

/** Opens streams that stay open after their first event; undefined where not all of them begin. */
async function holdStreams(load: Load): Promise<(() => void) | undefined> {
  const request = Buffer.from(requestText({ ...load, answer: 'sse-held' }))
  const lines: Line[] = []
  const close = (): void => {
    for (const line of lines) line.close()
  }
  for (let opened = 0; opened < load.connections; opened += 100) {
    const batch = Array.from({ length: Math.min(100, load.connections - opened) }, () => {
      const line = new Line(
        load.port,
        () => {},
        () => {},
      )
      line.send(request)
      return line
    })
    lines.push(...batch)
    const since = performance.now()
    while (batch.some(({ chunks }) => chunks === 0)) {
      await new Promise((resolve) => setTimeout(resolve, 10))
      if (performance.now() - since < OPEN_MS) continue
      close()
      return undefined
    }
  }
  return close
}

// Who asked for it is gone.
process.on('disconnect', () => process.exit(0))
let release: (() => void) | undefined
process.on('message', (message: { kind: 'run' | 'hold' | 'release'; load: Load }) => {
  void (async () => {
    if (message.kind === 'run') return process.send?.(await runLoad(message.load))
    if (message.kind === 'hold') release = await holdStreams(message.load)
    else release?.()
    return process.send?.(release === undefined ? 'failed' : 'done')
  })()
})
