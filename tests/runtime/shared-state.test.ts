import { existsSync } from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { startWorkers, temporaryDirectory, TOKEN, type Running } from './runtimes.ts'

const ANSWER = answer({
  body: '{"id":"c-1","choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
})
const LIMIT = 10

let running: Running[] = []
let upstreams: ScriptedUpstream[] = []

afterEach(async () => {
  await running[0]?.stop()
  await Promise.all(upstreams.map((upstream) => upstream.close()))
  running = []
  upstreams = []
})

async function upstream(): Promise<ScriptedUpstream> {
  const started = await startScriptedUpstream(ANSWER)
  upstreams.push(started)
  return started
}

const limited = (to: ScriptedUpstream, settings: object = {}): object => ({
  models: [{ base_url: `${to.url}/v1`, api_key: 'k', model: 'm', limits: { rpm: LIMIT } }],
  settings: { queue_timeout: 0, affinity: 'off', ...settings },
})

const countOf = (text: string, part: string): number => text.split(part).length - 1

/** How long each request took before and besides its attempts, ms. */
function waitsOf(printed: string): number[] {
  const lines = printed.split('\n').filter((line) => line.includes('"event":"request"'))
  return lines
    .map((line) => JSON.parse(line) as { endpoint: string; ms: number; attempts: { ms: number }[] })
    .filter(({ endpoint }) => endpoint === 'chat')
    .map(({ ms, attempts }) => attempts.reduce((left, attempt) => left - attempt.ms, ms))
}

async function chat({ url }: Running, body: object = {}): Promise<Response> {
  const answered = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], ...body }),
  })
  await answered.arrayBuffer()
  return answered
}

describe('isolates over one Durable Object', () => {
  test('two of them share a limit of 10 a minute: together never more than 10 upstream', async () => {
    const to = await upstream()
    running = await startWorkers(limited(to), { sockets: 2 })
    const answers = await Promise.all(Array.from({ length: 30 }, (_, nth) => chat(running[nth % 2]!)))
    const later = [await chat(running[0]!), await chat(running[1]!)]
    expect(running[0]!.output()).not.toContain('state is kept in this isolate')
    expect(to.requests).toHaveLength(LIMIT)
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(LIMIT)
    expect(later.map(({ status }) => status)).toEqual([429, 429])
    expect(Number(later[0]?.headers.get('retry-after'))).toBeGreaterThan(30)
  })

  test('what rests in one rests in the other', async () => {
    const [a, b] = [
      await startScriptedUpstream(answer({ status: 429, headers: { 'retry-after': '30' } })),
      await upstream(),
    ]
    upstreams.push(a)
    const models = [a, b].map(({ url }, at) => ({
      base_url: `${url}/v1`,
      api_key: `k${at}`,
      model: `m${at}`,
    }))
    running = await startWorkers(
      { models, settings: { strategy: 'in_order', affinity: 'off' } },
      { sockets: 2 },
    )
    await chat(running[0]!)
    // What an isolate has to tell gathers for 20 ms.
    await new Promise((go) => setTimeout(go, 100))
    for (let times = 0; times < 5; times++) expect((await chat(running[1]!)).status).toBe(200)
    expect(a.requests).toHaveLength(1)
    const status = await fetch(`${running[1]!.url}/admin/status`, {
      headers: { authorization: `Bearer ${TOKEN}` },
    })
    expect(await status.json()).toMatchObject({ upstreams: [{ available: false }, { available: true }] })
  })

  test('a conversation goes on at the upstream where another isolate began it', async () => {
    const all = [await upstream(), await upstream(), await upstream(), await upstream()]
    const models = all.map(({ url }, at) => ({ base_url: `${url}/v1`, api_key: `k${at}`, model: `m${at}` }))
    running = await startWorkers(
      { models, settings: { strategy: 'least_busy', affinity: 'conversation' } },
      { sockets: 2 },
    )
    for (let nth = 0; nth < 12; nth++) {
      const messages = [{ role: 'user', content: `Hello ${nth}` }]
      const first = await chat(running[0]!, { messages })
      await new Promise((go) => setTimeout(go, 60))
      const second = await chat(running[1]!, {
        messages: [...messages, { role: 'assistant', content: 'hi' }, { role: 'user', content: 'and?' }],
      })
      expect(second.headers.get('x-aiload-upstream')).toBe(first.headers.get('x-aiload-upstream'))
    }
  })

  test('an object that begins anew remembers what was spent', async () => {
    const to = await upstream()
    const directory = temporaryDirectory()
    const config = limited(to)
    running = await startWorkers(config, { directory, sockets: 1 })
    for (let nth = 0; nth < 6; nth++) await chat(running[0]!)
    await new Promise((go) => setTimeout(go, 1_500))
    await running[0]!.stop({ keep: directory })
    expect(existsSync(directory)).toBe(true)
    running = await startWorkers(config, { directory, sockets: 1 })
    for (let nth = 0; nth < 8; nth++) await chat(running[0]!)
    expect(to.requests).toHaveLength(LIMIT)
  })

  test('a client that leaves a stream gives its place back', async () => {
    const to = await startScriptedUpstream(async (exchange) => {
      if (to.requests.length > 1) return ANSWER(exchange)
      await exchange.head(200, { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' })
      // workerd notices a client that has left when it has something to send.
      while (await exchange.chunk('data: {"choices":[{"delta":{"content":"one"}}]}\n\n')) {
        await new Promise((go) => setTimeout(go, 50))
      }
    })
    upstreams.push(to)
    const models = [{ base_url: `${to.url}/v1`, api_key: 'k', model: 'm', limits: { concurrency: 1 } }]
    running = await startWorkers({ models, settings: { queue_timeout: 0, affinity: 'off' } }, { sockets: 2 })
    const leaving = new AbortController()
    const first = await fetch(`${running[0]!.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TOKEN}` },
      body: '{"stream":true,"messages":[]}',
      signal: leaving.signal,
    })
    await first.body!.getReader().read()
    expect((await chat(running[1]!)).status).toBe(429)
    leaving.abort()
    await to.requests[0]!.closed
    await new Promise((go) => setTimeout(go, 300))
    expect((await chat(running[1]!)).status).toBe(200)
  })

  test('requests that wait get their turn when others end', async () => {
    const to = await startScriptedUpstream(async (exchange) => {
      await new Promise((go) => setTimeout(go, 100))
      await ANSWER(exchange)
    })
    upstreams.push(to)
    const models = [{ base_url: `${to.url}/v1`, api_key: 'k', model: 'm', limits: { concurrency: 2 } }]
    running = await startWorkers({ models, settings: { queue_timeout: 10, affinity: 'off' } })
    const answers = await Promise.all(Array.from({ length: 12 }, () => chat(running[0]!)))
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 12 }, () => 200))
  })

  test('a place that becomes free in one of them is found by who waits in the other', async () => {
    const to = await startScriptedUpstream(async (exchange) => {
      if (to.requests.length === 1) await new Promise((go) => setTimeout(go, 1_000))
      await ANSWER(exchange)
    })
    upstreams.push(to)
    const models = [{ base_url: `${to.url}/v1`, api_key: 'k', model: 'm', limits: { concurrency: 1 } }]
    running = await startWorkers({ models, settings: { queue_timeout: 20, affinity: 'off' } }, { sockets: 2 })
    const since = performance.now()
    const first = chat(running[0]!)
    await new Promise((go) => setTimeout(go, 300))
    expect((await chat(running[1]!)).status).toBe(200)
    expect(performance.now() - since).toBeLessThan(4_000)
    expect((await first).status).toBe(200)
    expect(to.requests).toHaveLength(2)
  })

  test('a client that leaves the queue without a word does not hold up the others', async () => {
    const to = await startScriptedUpstream(async (exchange) => {
      await new Promise((go) => setTimeout(go, 500))
      await ANSWER(exchange)
    })
    upstreams.push(to)
    const models = [{ base_url: `${to.url}/v1`, api_key: 'k', model: 'm', limits: { concurrency: 1 } }]
    running = await startWorkers({ models, settings: { queue_timeout: 10, affinity: 'off' } })
    const first = chat(running[0]!)
    await new Promise((go) => setTimeout(go, 100))
    const leaving = new AbortController()
    const second = fetch(`${running[0]!.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TOKEN}` },
      body: '{"messages":[]}',
      signal: leaving.signal,
    })
    setTimeout(() => leaving.abort(), 100)
    await expect(second).rejects.toThrow('abort')
    const others = await Promise.all([first, chat(running[0]!), chat(running[0]!)])
    expect(others.map(({ status }) => status)).toEqual([200, 200, 200])
  })

  test('a request of a conversation that the isolate never saw makes one round trip before it is sent', async () => {
    const to = await startScriptedUpstream(async (exchange) => {
      trips.push(countOf(running[0]!.output(), 'the object is asked'))
      await ANSWER(exchange)
    })
    const trips: number[] = []
    upstreams.push(to)
    const models = [{ base_url: `${to.url}/v1`, api_key: 'k', model: 'm' }]
    running = await startWorkers(
      { models, settings: { affinity: 'conversation' } },
      { object: 'console.log("the object is asked"); return super.fetch(request)' },
    )
    for (let nth = 0; nth < 5; nth++) {
      const before = countOf(running[0]!.output(), 'the object is asked')
      await chat(running[0]!, { messages: [{ role: 'user', content: `Hello ${nth}` }] })
      expect(trips[nth]! - before).toBe(1)
      // What has ended is told after 20 ms.
      await new Promise((go) => setTimeout(go, 200))
    }
    expect(running[0]!.output()).not.toContain('state is kept in this isolate')
  })

  test('what was sent while the object was away counts when it is back', async () => {
    const to = await upstream()
    running = await startWorkers(limited(to), {
      sockets: 2,
      object:
        'this.since ??= Date.now(); if (Date.now() < this.since + 2000) throw new Error("down"); return super.fetch(request)',
    })
    for (let nth = 0; nth < 6; nth++) expect((await chat(running[0]!)).status).toBe(200)
    expect(running[0]!.output()).toContain('state is kept in this isolate')
    await new Promise((go) => setTimeout(go, 5_000))
    for (let nth = 0; nth < LIMIT; nth++) await chat(running[1]!)
    expect(to.requests).toHaveLength(LIMIT)
  })

  test.each([
    { object: 'await new Promise((go) => setTimeout(go, 5000)); return new Response("late")', why: 'slow' },
    { object: 'throw new Error("down")', why: 'out of reach' },
    { object: 'return new Response("no", { status: 500 })', why: 'out of reach' },
  ])(
    'an object that is $why costs at most 50 ms, then the memory of the isolate serves',
    async ({ object, why }) => {
      const to = await upstream()
      running = await startWorkers(limited(to, { affinity: 'conversation' }), { object })
      for (let nth = 0; nth < LIMIT + 2; nth++) {
        const { status } = await chat(running[0]!)
        expect(status).toBe(nth < LIMIT ? 200 : 429)
      }
      expect(to.requests).toHaveLength(LIMIT)
      expect(running[0]!.output()).toContain(`the Durable Object is ${why}`)
      // By the gateway's own clock: the first request also compiles, and one in a second pays for asking again.
      const waits = waitsOf(running[0]!.output())
      expect(waits).toHaveLength(LIMIT + 2)
      expect(waits.slice(1).filter((ms) => ms > 40).length).toBeLessThanOrEqual(2)
    },
  )
})
