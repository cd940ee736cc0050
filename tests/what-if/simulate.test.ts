import { describe, expect, test } from 'vitest'
import type { Arrival, EventLog, Sending } from '../../src/cli/what-if/log.ts'
import { simulate, type Ended } from '../../src/cli/what-if/simulate.ts'
import { behavioursOf, replyFor } from '../../src/cli/what-if/world.ts'
import type { RecordedUpstream } from '../../src/events/configs.ts'
import { createRuntimeConfig } from '../../src/http/deps.ts'
import type { Failure, Outcome } from '../../src/pool/outcome.ts'
import { endpoints } from '../../src/pool/upstream.ts'
import { createMemoryStore } from '../../src/state/memory.ts'
import { bareFailure, classifyStatus, classifyTransport } from '../../src/vendors/classify.ts'
import { checked } from '../support/test-app.ts'

const START = Date.UTC(2026, 10, 22, 12)

const configOf = (settings: object = {}) =>
  checked({
    auth_token: 'sk-test-token',
    models: [{ base_url: 'https://one.sim/v1', api_key: 'k', model: 'm', name: 'one' }],
    settings: { affinity: 'off', ...settings },
  })
const runtimeConfig = createRuntimeConfig(configOf())
const [one] = runtimeConfig.pools.upstreams
if (one === undefined) throw new Error('no upstream')
const recorded = { ...one, origin: 'https://one.sim' } as unknown as RecordedUpstream

/** A request that went as told: answered after 300 ms of which the first word came after 100. */
function arrivalAt(
  nth: number,
  how: Partial<Omit<Arrival, 'end' | 'sent'>> & { outcome?: Outcome; end?: Partial<Arrival['end']> } = {},
): Arrival {
  const { outcome = { kind: 'ok', tokens: 30, outputTokens: 10 }, end, ...rest } = how
  const at = START + nth * 1_000
  const sent: Sending[] = []
  const arrival: Arrival = {
    at,
    endpoint: 'chat',
    model: 'auto',
    stream: false,
    token: undefined,
    maskedKey: 0,
    demand: {
      inputTokens: 20,
      outputTokens: undefined,
      choices: 1,
      needs: { abilities: [], context: 20, output: 0, body: 0 },
    },
    demands: undefined,
    stuckTo: undefined,
    owner: undefined,
    pinnedTo: undefined,
    sent,
    ...rest,
    end: {
      request: nth,
      at: { now: at, wall: at },
      status: 200,
      code: undefined,
      upstream: 'one',
      queuedMs: 0,
      firstByteMs: 100,
      durationMs: 300,
      inputTokens: 20,
      outputTokens: 10,
      attempts: [],
      ...end,
    },
  }
  sent.push({
    upstream: recorded,
    at,
    endedAt: at + 300,
    firstByteMs: 100,
    readings: [],
    outcome,
    arrival,
  })
  return arrival
}

async function ran(arrivals: readonly Arrival[], settings: object = {}): Promise<(Ended | undefined)[]> {
  const sendings = arrivals.flatMap(({ sent }) => sent)
  const begins = {
    at: { now: START, wall: START },
    state: { ...createMemoryStore({ random: () => 0 }).capture(), leases: [], credits: [] },
  }
  const log: EventLog = { arrivals, sendings, states: [begins], interventions: [], configs: [] }
  const config = createRuntimeConfig(configOf(settings))
  const behaviours = behavioursOf(log, config.pools.upstreams)
  const { ended } = await simulate({
    runtimeConfig: config,
    behaviours,
    arrivals,
    begins,
    log,
    secret: undefined,
    seed: 1,
  })
  return arrivals.map((arrival) => ended.get(arrival))
}

describe('a recorded request that is sent once more', () => {
  test.each(endpoints.flatMap((endpoint) => [true, false].map((stream) => ({ endpoint, stream }))))(
    'is answered as it was, in the same time ($endpoint, stream $stream)',
    async (how) => {
      const all = await ran(Array.from({ length: 8 }, (_, nth) => arrivalAt(nth, how)))
      expect(all.every((ended) => ended?.status === 200 && ended.attempts.length === 1)).toBe(true)
      expect(all[0]?.firstByteMs).toBeCloseTo(how.stream ? 100 : 300, 0)
    },
  )

  test('ends with its client where that left before an answer, and not where the answer comes sooner now', async () => {
    const left = { end: { status: 499, durationMs: 50 }, outcome: { kind: 'aborted', sent: true } } as const
    const late = { end: { status: 499, durationMs: 900 }, outcome: { kind: 'aborted', sent: true } } as const
    const usual = Array.from({ length: 8 }, (_, nth) => arrivalAt(nth))
    const all = await ran([...usual, arrivalAt(9, left), arrivalAt(10, late)])
    expect(all.slice(-2).map((ended) => ended?.status)).toEqual([499, 200])
  })

  test('is refused for its body again', async () => {
    const outcome: Failure = { ...bareFailure('refusedBody', 400) }
    const usual = Array.from({ length: 8 }, (_, nth) => arrivalAt(nth))
    const all = await ran([...usual, arrivalAt(9, { outcome, end: { status: 400 } })])
    expect(all.at(-1)).toMatchObject({ status: 400, upstream: 'one' })
  })

  test('for a model that no upstream has is an error of the configuration', async () => {
    const usual = Array.from({ length: 8 }, (_, nth) => arrivalAt(nth))
    const all = await ran([...usual, arrivalAt(9, { model: 'gone' })], { unknown_model: 'reject' })
    expect(all.at(-1)).toMatchObject({ status: 404, code: 'model_not_found', attempts: [] })
  })

  test('is given up after the timeout of the new configuration, where the upstream never answered', async () => {
    const usual = Array.from({ length: 8 }, (_, nth) => arrivalAt(nth))
    const silent = Array.from({ length: 3 }, (_, nth) =>
      arrivalAt(100 + nth, {
        outcome: classifyTransport('timeout'),
        end: { status: 504, code: 'upstream_timeout' },
      }),
    )
    const all = await ran([...usual, ...silent], { timeout: 7 })
    expect(all[8]).toMatchObject({
      status: 504,
      code: 'upstream_timeout',
      attempts: [{ outcome: 'failure' }],
    })
  })
})

describe('what an upstream may have said', () => {
  test.each([
    ['limited', 429],
    ['concurrencyLimited', 429],
    ['dayIsSpent', 429],
    ['unpaid', 402],
    ['noKey', 401],
    ['noModel', 404],
    ['refusedBody', 400],
    ['tooLong', 400],
    ['overloaded', 503],
    ['failed', 500],
  ] as const)('is taken by the relay for a failure of the same class again: %s', (name, status) => {
    const failure = bareFailure(name, status)
    const reply = replyFor(failure)
    if (typeof reply === 'string') throw new Error(reply)
    const again = classifyStatus({ ...reply, body: reply.body as Uint8Array, wallNow: 0 })
    const { class: kind, cause, code } = failure
    expect(again).toMatchObject({ class: kind, cause, code })
  })

  test.each(['not-sent', 'connect-timeout', 'proxy', 'timeout', 'broken', 'undecodable'] as const)(
    'where it said nothing is the same failure of a connection: %s',
    (kind) => {
      const reply = replyFor(classifyTransport(kind))
      expect(typeof reply === 'string' && classifyTransport(reply as typeof kind)).toEqual(
        classifyTransport(kind),
      )
    },
  )
})
