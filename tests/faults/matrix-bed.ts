/**
 * One gateway for a table of faults. Every row has an upstream of its own with a healthy one behind it, and
 * a second one that stands alone, each with its own port and key, so that no cooldown reaches another row.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { upstreamStatus } from '../support/gateway-status.ts'
import { startScriptedUpstream, type Scene, type ScriptedUpstream } from '../support/scripted-upstream.ts'

/** A place that fails: a scripted upstream, or an address where there is none. */
export type Place = ScriptedUpstream | { readonly url: string; close?(): Promise<void> }

/** A row of the matrix. */
export interface Fault {
  readonly fault: string
  readonly because: string
  /** Made once for each of the two upstreams of a row. */
  readonly place: () => Promise<Place>
  /** Parts of the request body. */
  readonly body?: object
  /** What a client gets when there is nobody else. */
  readonly exhausted: {
    readonly status: number
    readonly code: string
    /** `retry-after`, s. */
    readonly retryAfter?: readonly [least: number, most: number]
  }
  /** What `/admin/status` shows afterwards. */
  readonly rests: Rest | 'not at all'
  /** Once for each of the two upstreams, at the end of its test. */
  readonly after?: (place: Place) => Promise<void>
}

export interface Rest {
  readonly why: string | RegExp
  readonly blockedBy?: string
  /** How long, ms, right after it began. */
  readonly ms: readonly [least: number, most: number]
}

/** An upstream with a scene. */
export const plays =
  (scene: () => Scene): Fault['place'] =>
  () =>
    startScriptedUpstream(scene())

/** A back-off of our own with its jitter. */
export const about = (ms: number): readonly [number, number] => [0.8 * ms - 1, 1.2 * ms + 1]

/** Whatever the failure was; those who know it say so. */
export const failureRest: Rest = {
  why: /^(?!needs attention|rate-limited|quota|overloaded)\w/,
  ms: about(1_000),
}

/** A busy machine takes its time between an answer and the question for the status. */
const LATE_MS = 10_000

interface Placed {
  readonly sick: Place
  readonly alone: Place
}

/** Both tests of every row: somebody else answers, and nobody else is there. */
export function testFaults(faults: readonly Fault[]): void {
  const placed: Placed[] = []
  let well: ScriptedUpstream
  let gateway: GatewayProcess

  beforeAll(async () => {
    well = await startScriptedUpstream(healthy('from the healthy one'))
    for (const { place } of faults) placed.push({ sick: await place(), alone: await place() })
    gateway = await startGateway({
      models: [
        ...faults.flatMap((_, row) => [
          modelOf(`sick-${row}`, placed[row]!.sick, `pair-${row}`),
          modelOf(`alone-${row}`, placed[row]!.alone, `lone-${row}`),
        ]),
        { ...modelOf('healthy', well, ''), groups: faults.map((_, row) => `pair-${row}`), timeout: 10 },
      ],
      settings: { strategy: 'in_order', affinity: 'off', queue_timeout: 0, connect_timeout: 1 },
    })
  })

  afterAll(async () => {
    await gateway.stop()
    for (const { sick, alone } of placed) await Promise.all([sick.close?.(), alone.close?.()])
    await well.close()
    expect(gateway.stderr, 'nothing on stderr but our own log').toBe('')
    expect(gateway.stdout).not.toMatch(/secret-of/)
    expect(gateway.stdout).not.toContain(gateway.token)
    expect(gateway.stdout).not.toMatch(/internal error/)
  })

  /** Looks at the cooldown that began after `since`; a short one may be over on a busy machine. */
  async function expectRest(name: string, { rests }: Fault, since: number): Promise<void> {
    const {
      why,
      for_ms: forMs,
      blocked_by: scope,
      resting_endpoints: endpoints,
    } = await upstreamStatus(gateway, name)
    if (rests === 'not at all') {
      expect(why).toBeNull()
      return
    }
    const [least, most] = rests.ms
    const late = performance.now() - since
    if (least < late + 50) return
    if (typeof rests.why === 'string') expect(why).toBe(rests.why)
    else expect(why).toMatch(rests.why)
    expect(scope).toBe(rests.blockedBy ?? 'upstream')
    expect(forMs).toBeGreaterThan(least - Math.min(late, LATE_MS))
    expect(forMs).toBeLessThanOrEqual(most)
    if (rests.blockedBy === 'endpoint') expect(endpoints.map(({ endpoint }) => endpoint)).toContain('chat')
  }

  test.concurrent.each(faults.map((fault, row) => ({ ...fault, row })))(
    '$fault: another upstream answers, since $because',
    async ({ row, ...fault }) => {
      const since = performance.now()
      const answer = await gateway.chat({ ...fault.body, model: `pair-${row}` })
      expect(answer.status).toBe(200)
      expect(await answer.text()).toContain('from the healthy one')
      expect(answer.headers.get('x-aiload-upstream')).toBe('healthy')
      expect(answer.headers.get('x-aiload-attempts')).toBe('2')
      const { sick } = placed[row]!
      await expectRest(`sick-${row}`, fault, since)
      if ('requests' in sick) expect(sick.requests.length).toBeLessThanOrEqual(1)
      expect((await upstreamStatus(gateway, `sick-${row}`)).attempts).toBe(1)
      await fault.after?.(sick)
    },
  )

  test.concurrent.each(faults.map((fault, row) => ({ ...fault, row })))(
    '$fault: with nobody else it is $exhausted.status $exhausted.code',
    async ({ row, ...fault }) => {
      const { status, code, retryAfter } = fault.exhausted
      const since = performance.now()
      const answer = await gateway.chat({ ...fault.body, model: `lone-${row}` })
      const text = await answer.text()
      expect({ status: answer.status, code: codeIn(text) }).toEqual({ status, code })
      expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
      expect(answer.headers.get('location')).toBeNull()
      expect(`${text}${JSON.stringify([...answer.headers])}`).not.toMatch(/secret-of|<html|<!doctype/i)
      if (retryAfter !== undefined) expectRetryAfter(answer.headers, retryAfter)
      await expectRest(`alone-${row}`, fault, since)
      await fault.after?.(placed[row]!.alone)
    },
  )
}

function modelOf(name: string, { url }: Place, group: string): object {
  return {
    name,
    base_url: `${url}/v1`,
    model: name,
    api_key: `secret-of-${name}`,
    groups: [group],
    timeout: 1,
  }
}

function codeIn(text: string): string {
  const { error }: { error: { code: string } } = JSON.parse(text)
  expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type'])
  return error.code
}

function expectRetryAfter(headers: Headers, [least, most]: readonly [number, number]): void {
  const seconds = Number(headers.get('retry-after'))
  expect(seconds).toBeGreaterThanOrEqual(Math.max(1, least))
  expect(seconds).toBeLessThanOrEqual(most)
  expect(Number.isInteger(seconds)).toBe(true)
  const ms = Number(headers.get('retry-after-ms'))
  expect(ms).toBeGreaterThan((seconds - 1) * 1000)
  expect(ms).toBeLessThanOrEqual(seconds * 1000)
  expect(headers.get('x-should-retry')).toBe(seconds > 60 ? 'false' : null)
}
