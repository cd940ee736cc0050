/** A gateway process among upstreams that fail at random, with clients that leave and files that change. */
import { createDice } from '../support/dice.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { heapAfterCollection, inspected } from '../support/inspected-heap.ts'
import { createLoadClient } from '../support/load-client.ts'
import { descriptors } from '../support/process-facts.ts'
import type { ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'
import { judge } from './chaos-check.ts'
import { startChaosUpstream, type Book } from './chaos-upstream.ts'

/** How long, and with which dice. */
export interface ChaosOptions {
  readonly seconds: number
  readonly seed: number
}

/** What a run has shown. */
export interface ChaosSummary {
  readonly requests: number
  readonly answered: number
  /** Streams that their upstream broke, told to the client as they should be. */
  readonly brokenOff: number
  /** Errors where the rules forbid another attempt. */
  readonly failed: number
  readonly aborted: number
  readonly reloads: number
  /** Everything that should not have happened. */
  readonly wrong: readonly string[]
  /** After a forced collection, bytes: after a quarter of the time, and at the end. */
  readonly heap: readonly [number, number]
  /** Before the load, and after it. */
  readonly descriptors: readonly [number, number]
  /** Calls that an upstream was still busy with when all was over. */
  readonly leftOver: number
}

const CLIENTS = 24
const UPSTREAMS = 6
const TIMEOUT_S = 3
const RELOAD_EVERY_MS = 1_500
const IDLE_CLOSE_EVERY_MS = 25
/** A call that comes so long after its client has left was begun after it. */
const LATE_MS = 2_000

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export async function runChaos({ seconds, seed }: ChaosOptions): Promise<ChaosSummary> {
  const draw = createDice(seed)
  const book: Book = new Map()
  let busy = 0
  const count = (by: 1 | -1): void => void (busy += by)
  const upstreams = await Promise.all(
    Array.from({ length: UPSTREAMS }, (_, nth) =>
      startChaosUpstream({ name: `u${nth}`, book, draw, count, isAnchor: nth === UPSTREAMS - 1 }),
    ),
  )
  const gateway = await startGateway(configOf(upstreams, draw, 0), { env: inspected })
  const client = createLoadClient(gateway)
  const tally = { requests: 0, answered: 0, brokenOff: 0, failed: 0, aborted: 0, reloads: 0 }
  const wrong: string[] = []
  await client.chat()
  const openBefore = descriptors(gateway.pid)

  async function ask(): Promise<void> {
    const id = `id-${tally.requests++}-${seed}`
    const stream = draw() < 0.6
    const leavesAfter = draw() < 0.1 ? draw() * 150 : undefined
    const controller = new AbortController()
    const since = performance.now()
    const done = client.chat({ stream, messages: [{ role: 'user', content: id }] }, controller.signal)
    const timer = leavesAfter === undefined ? undefined : setTimeout(() => controller.abort(), leavesAfter)
    const answer = await done
    clearTimeout(timer)
    if (controller.signal.aborted) {
      tally.aborted += 1
      const leftAt = performance.now()
      setTimeout(() => {
        if (book.get(id)?.some(({ at }) => at > leftAt + LATE_MS))
          wrong.push(`${id}: an attempt after its client had left`)
        book.delete(id)
      }, 2 * LATE_MS)
      return
    }
    const verdict = judge(
      { id, stream, answer, calls: book.get(id) ?? [], ms: performance.now() - since },
      TIMEOUT_S * 1000,
    )
    book.delete(id)
    if (verdict === 'answered') tally.answered += 1
    else if (verdict === 'broken off') tally.brokenOff += 1
    else if (verdict === 'failed') tally.failed += 1
    else wrong.push(`${id}: ${verdict.wrong}`)
  }

  async function loadFor(ms: number): Promise<void> {
    const end = performance.now() + ms
    const work = async (): Promise<void> => {
      while (performance.now() < end) await ask()
    }
    const reload = async (): Promise<void> => {
      while (performance.now() < end - RELOAD_EVERY_MS) {
        await pause(RELOAD_EVERY_MS)
        tally.reloads += 1
        gateway.writeConfig(draw() < 0.2 ? '{"models": [' : configOf(upstreams, draw, tally.reloads))
      }
    }
    // Requests keep running into connections that their upstream closes as idle at that moment.
    const closer = setInterval(
      () => upstreams[Math.floor(draw() * UPSTREAMS)]?.closeIdle(),
      IDLE_CLOSE_EVERY_MS,
    )
    await Promise.all([reload(), ...Array.from({ length: CLIENTS }, work)])
    clearInterval(closer)
  }

  await loadFor(seconds * 250)
  const early = await heapAfterCollection(gateway)
  await loadFor(seconds * 750)
  client.close()
  await until(
    () => busy,
    (calls) => calls === 0,
  ).catch(() => {})
  for (const upstream of upstreams) upstream.closeIdle()
  const openAfter = await until(
    () => descriptors(gateway.pid),
    (open) => open <= openBefore,
  ).catch(() => descriptors(gateway.pid))
  const late = await heapAfterCollection(gateway)
  const leftOver = busy
  await gateway.stop()
  for (const upstream of upstreams) await upstream.close()
  wrong.push(...complaints(gateway))
  return { ...tally, wrong, heap: [early, late], descriptors: [openBefore, openAfter], leftOver }
}

/** What the gateway should never print. */
function complaints({ stdout, stderr, token }: GatewayProcess): string[] {
  const own = stderr
    .split('\n')
    .filter((line) => line !== '' && !/^(Debugger |For help, see|Starting inspector)/.test(line))
  const mistakes = stdout.split('\n').filter((line) => line.includes('internal error'))
  const secrets = stdout.includes(token) || stdout.includes('secret-of') ? ['a secret stands in the log'] : []
  return [...own, ...mistakes, ...secrets]
}

const strategies = ['random', 'round_robin', 'least_busy', 'fastest', 'headroom', 'in_order']
const affinities = ['off', 'conversation', 'ip']

/** Every generation has other keys, so that those that an upstream refused are forgotten. */
function configOf(upstreams: readonly ScriptedUpstream[], draw: () => number, generation: number): object {
  const one = (list: readonly string[]): string => list[Math.floor(draw() * list.length)]!
  return {
    models: upstreams.map(({ url }, nth) => ({
      name: `u${nth}`,
      base_url: `${url}/v1`,
      model: 'm',
      api_key: `secret-of-${nth}-${generation}`,
      weight: 0.5 + draw(),
    })),
    settings: { strategy: one(strategies), affinity: one(affinities), timeout: TIMEOUT_S },
  }
}
