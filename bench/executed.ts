/** Which functions a request executes, by V8's own count over the inspector's protocol. */
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'undici'
import { startGateway } from '../tests/support/gateway-process.ts'
import { inspected } from '../tests/support/inspected-heap.ts'
import { startEchoUpstream } from './echo-client.ts'

/** A function of the project. */
export interface ExecutedFunction {
  /** Below the project's directory. */
  readonly file: string
  /** Empty where it has none. */
  readonly name: string
  /** Where it begins in the text that was run, characters. */
  readonly offset: number
}

interface Coverage {
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly {
      readonly functionName: string
      readonly ranges: readonly { readonly startOffset: number; readonly count: number }[]
    }[]
  }[]
}

const UPSTREAM_PORT = 19_473
const WINDOWS = 3
const root = fileURLToPath(new URL('../', import.meta.url))

/**
 * The functions below `src/` that one warm chat request executes, answered in JSON, from its first byte to its log
 * line. Counted are those that three requests in a row have executed: timers that come by are not of a request.
 */
export async function executedFunctions(): Promise<ExecutedFunction[]> {
  const upstream = await startEchoUpstream(UPSTREAM_PORT)
  const models = [1, 2].map((nth) => ({
    base_url: `http://127.0.0.1:${UPSTREAM_PORT}/v1`,
    model: 'm',
    name: `m${nth}`,
    api_key: `k${nth}`,
    limits: { rpm: 10_000, tpm: 100_000_000 },
  }))
  const gateway = await startGateway({ models }, { env: inspected })
  const ask = async (): Promise<void> => {
    const answer = await gateway.chat()
    await answer.text()
    await pause(100)
  }
  for (let nth = 0; nth < 20; nth++) await ask()

  const [, url = ''] = await gateway.printed(/Debugger listening on (ws:\S+)/)
  const inspector = await openInspector(url)
  await inspector.send('Profiler.enable')
  await inspector.send('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
  const seen = new Map<string, { one: ExecutedFunction; windows: number }>()
  for (let window = 0; window < WINDOWS; window++) {
    await inspector.send('Profiler.takePreciseCoverage')
    await ask()
    for (const one of functionsIn((await inspector.send('Profiler.takePreciseCoverage')) as Coverage)) {
      const key = `${one.file}:${one.offset}:${one.name}`
      seen.set(key, { one, windows: (seen.get(key)?.windows ?? 0) + 1 })
    }
  }
  inspector.close()
  await gateway.stop()
  upstream.kill()
  return [...seen.values()].filter(({ windows }) => windows === WINDOWS).map(({ one }) => one)
}

/** `__name` is what tsx puts around functions to keep their names. */
function functionsIn({ result }: Coverage): ExecutedFunction[] {
  const own = result.filter(({ url }) => url.startsWith(`file://${root}src/`))
  return own.flatMap(({ url, functions }) =>
    functions
      .filter(({ functionName, ranges }) => functionName !== '__name' && (ranges[0]?.count ?? 0) > 0)
      .map(({ functionName, ranges }) => ({
        file: fileURLToPath(url.split('?')[0] ?? url).slice(root.length),
        name: functionName,
        offset: ranges[0]?.startOffset ?? 0,
      })),
  )
}

interface Inspector {
  send(method: string, params?: object): Promise<unknown>
  close(): void
}

async function openInspector(url: string): Promise<Inspector> {
  const socket = new WebSocket(url)
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve)
    socket.addEventListener('error', reject)
  })
  const waiting = new Map<number, (result: unknown) => void>()
  socket.addEventListener('message', ({ data }) => {
    const { id = 0, result } = JSON.parse(String(data)) as { id?: number; result?: unknown }
    waiting.get(id)?.(result)
    waiting.delete(id)
  })
  let last = 0
  return {
    send: (method, params = {}) =>
      new Promise((resolve) => {
        waiting.set(++last, resolve)
        socket.send(JSON.stringify({ id: last, method, params }))
      }),
    close: () => socket.close(),
  }
}
