import { afterAll, beforeAll, expect, test } from 'vitest'
import { chunkEvent, healthy, streamEnd } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { upstreamStatus } from '../support/gateway-status.ts'
import { createLoadClient, type LoadAnswer, type LoadClient } from '../support/load-client.ts'
import { startScriptedUpstream, type Exchange, type ScriptedUpstream } from '../support/scripted-upstream.ts'

const STREAMS = 20
const first = chunkEvent('one') + chunkEvent('two')
const half = chunkEvent('three').slice(0, -20)

/** How a stream ends after what it has sent. */
type Ending = (exchange: Exchange) => unknown

const closes: Ending = (exchange) => exchange.close()
const resets: Ending = (exchange) => exchange.reset()
const stalls: Ending = (exchange) => exchange.closed
const endsInOrder: Ending = (exchange) => exchange.lastChunk()

interface Break {
  readonly how: string
  readonly sent: string
  readonly ending: Ending
  readonly framing?: 'close'
  /** Of the error event; none where the connection breaks. */
  readonly code?: 'upstream_disconnected' | 'upstream_timeout'
}

const breaks: readonly Break[] = [
  { how: 'closed between events', sent: first, ending: closes, code: 'upstream_disconnected' },
  { how: 'reset between events', sent: first, ending: resets, code: 'upstream_disconnected' },
  { how: 'silent between events', sent: first, ending: stalls, code: 'upstream_timeout' },
  {
    how: 'ended in order without being done',
    sent: first,
    ending: endsInOrder,
    code: 'upstream_disconnected',
  },
  {
    how: 'closed without a length and without being done',
    sent: first,
    ending: closes,
    framing: 'close',
    code: 'upstream_disconnected',
  },
  {
    how: 'cut behind a comment',
    sent: `${first}: still here\n\n`,
    ending: closes,
    code: 'upstream_disconnected',
  },
  { how: 'closed inside an event', sent: first + half, ending: closes },
  { how: 'reset inside an event', sent: first + half, ending: resets },
  { how: 'silent inside an event', sent: first + half, ending: stalls },
  { how: 'cut before the blank line', sent: first.slice(0, -1), ending: closes },
]

let sick: ScriptedUpstream[]
let well: ScriptedUpstream
let gateway: GatewayProcess
let client: LoadClient

/** Breaks all streams together, once every one of them has begun. */
async function startBreaking({ sent, ending, framing }: Break): Promise<ScriptedUpstream> {
  let begun = 0
  let openAll = (): void => {}
  const allHaveBegun = new Promise<void>((resolve) => (openAll = resolve))
  return startScriptedUpstream(async (exchange) => {
    const type = { 'content-type': 'text/event-stream' }
    await exchange.head(200, framing === 'close' ? type : { ...type, 'transfer-encoding': 'chunked' })
    await (framing === 'close' ? exchange.raw(sent) : exchange.chunk(sent))
    if (++begun === STREAMS) openAll()
    await allHaveBegun
    // What was sent must have arrived before a reset overtakes it.
    await new Promise((resolve) => setTimeout(resolve, 200))
    await ending(exchange)
  })
}

beforeAll(async () => {
  well = await startScriptedUpstream(healthy())
  sick = await Promise.all(breaks.map(startBreaking))
  gateway = await startGateway({
    models: [
      ...sick.map(({ url }, row) => ({
        name: `sick-${row}`,
        base_url: `${url}/v1`,
        model: 'm',
        groups: [`row-${row}`],
        timeout: 2,
      })),
      { name: 'well', base_url: `${well.url}/v1`, model: 'm', groups: sick.map((_, row) => `row-${row}`) },
    ],
    settings: { strategy: 'in_order', affinity: 'off' },
  })
  client = createLoadClient(gateway)
})

afterAll(async () => {
  client.close()
  await gateway.stop()
  for (const upstream of [well, ...sick]) await upstream.close()
  expect(gateway.stderr).toBe('')
})

test.each(breaks.map((row, nth) => ({ ...row, nth })))(
  `${STREAMS} streams $how: $code, and nothing begins anew`,
  async ({ nth, sent, code }) => {
    const answers = await Promise.all(
      Array.from({ length: STREAMS }, () => client.chat({ model: `row-${nth}`, stream: true })),
    )
    for (const answer of answers) {
      expect(answer.status).toBe(200)
      expect(answer.text).not.toContain('[DONE]')
      if (code === undefined) expectBroken(answer, sent)
      else expectErrorEvent(answer, { sent, code })
    }
    expect(sick[nth]!.requests).toHaveLength(STREAMS)
    expect(well.requests, 'no second generation').toHaveLength(0)
    await Promise.all(sick[nth]!.requests.filter(({ aborted }) => aborted).map(({ closed }) => closed))
  },
)

test('a break is a failure of its upstream', async () => {
  const { failures, last_outcomes: outcomes } = await upstreamStatus(gateway, 'sick-0')
  expect(failures).toBe(STREAMS)
  expect(outcomes[0]!.outcome).toBe('broken')
})

test('a stream that is whole stays as it is', async () => {
  const answer = await client.chat({ model: 'well', stream: true })
  expect(answer.error).toBeUndefined()
  expect(answer.text).toBe(chunkEvent('Hello') + streamEnd)
})

function expectErrorEvent(answer: LoadAnswer, { sent, code }: { sent: string; code: string }): void {
  expect(answer.error, 'the connection ends in order').toBeUndefined()
  expect(answer.text.slice(0, sent.length)).toBe(sent)
  const added = answer.text.slice(sent.length)
  expect(added).toMatch(/^data: \{.*\}\n\n$/)
  const { error }: { error: Record<string, unknown> } = JSON.parse(added.slice('data: '.length))
  expect(Object.keys(error)).toEqual(['message', 'type', 'param', 'code'])
  expect(error.code).toBe(code)
}

function expectBroken(answer: LoadAnswer, sent: string): void {
  expect(answer.error, 'half an event is never taken for a whole one').toBeDefined()
  expect(answer.text, 'what arrived stays').toBe(sent)
}
