import net from 'node:net'
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { answer, createGate, reset, stall } from '../support/scripted-scenes.ts'
import { createBed } from './bed.ts'
import { TOKEN, type Runtime } from './runtimes.ts'

/** A believable answer. */
const completion = (content: string): string =>
  JSON.stringify({
    id: 'c-1',
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
  })

const chunk = (content: string): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`
const STREAM = { 'content-type': 'text/event-stream' }
const LAST = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\ndata: [DONE]\n\n`

/** Seconds of silence that the gateway grants. */
const TIMEOUT = 2

/** What a gateway does, whatever it runs on. On real sockets: the runtime is a process of its own. */
export function behavesAsEverywhere(runtime: Runtime): void {
  describe(runtime.name, () => {
    const bed = createBed(runtime, { timeout: TIMEOUT })

    test('an answer comes back as it is, and its headers tell who gave it', async () => {
      bed.play('solo', answer({ body: completion('hi') }))
      const got = await bed.chat({ model: 'solo-of-ROUND' })
      expect(await got.text()).toBe(completion('hi'))
      expect(got.status).toBe(200)
      expect(got.headers.get('content-type')).toBe('application/json')
      expect(got.headers.get('x-model')).toMatch(/^solo-/)
      expect(got.headers.get('x-aiload-attempts')).toBe('1')
      expect(bed.seen('solo')[0]?.headers['authorization']).toMatch(/^Bearer key-solo-/)
    })

    test('a stream arrives chunk by chunk, each before the next is sent', async () => {
      const gates = [createGate(), createGate()] as const
      bed.play(
        'solo',
        answer({
          headers: STREAM,
          body: [chunk('one'), gates[0].opened, chunk('two'), gates[1].opened, LAST],
        }),
      )
      const got = await bed.chat({ model: 'solo-of-ROUND', stream: true })
      const reader = createTextReader(got)
      expect(await reader.until('one')).not.toContain('two')
      gates[0].open()
      expect(await reader.until('two')).not.toContain('[DONE]')
      gates[1].open()
      expect(await reader.rest()).toBe(chunk('one') + chunk('two') + LAST)
    })

    test('models that stand in a list alone are served, and those of a vendor that is known', async () => {
      const list = answer({ body: JSON.stringify({ data: [{ id: 'listed' }, { id: 'other' }] }) })
      const whole = answer({ body: completion('hi') })
      bed.play('solo', (exchange) => (exchange.request.method === 'GET' ? list : whole)(exchange))
      const base_url = `${bed.upstreams.solo.url}/v1`
      const models = [
        { base_url, models: 'list*' },
        { vendor: 'groq', base_url, api_key: 'gsk_1', groups: ['groq'] },
      ]
      const gateway = await runtime.start({ models })
      const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
      for (const model of ['listed', 'groq']) {
        const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] })
        const got = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body })
        expect([model, got.status, await got.text()]).toEqual([model, 200, completion('hi')])
      }
      const named = (await (await fetch(`${gateway.url}/v1/models`, { headers })).json()) as {
        data: { id: string }[]
      }
      expect(named.data.map(({ id }) => id)).toContain('listed')
      expect(named.data.map(({ id }) => id)).not.toContain('other')
      await gateway.stop()
    })

    test('without the token nothing reaches an upstream', async () => {
      const wrong = await bed.chat(
        { model: 'solo-of-ROUND' },
        { headers: { authorization: 'Bearer sk-wrong' } },
      )
      expect(wrong.status).toBe(401)
      expect(await wrong.json()).toMatchObject({ error: { code: 'invalid_api_key' } })
      expect(wrong.headers.get('www-authenticate')).toBe('Bearer')
      expect(bed.seen('solo')).toHaveLength(0)
    })

    test('a stored answer is asked of the upstream that made it, as it is', async () => {
      const id = bed.inRound('chatcmpl-ROUND')
      bed.play('pair-a', answer({ status: 500, body: '{"error":{"message":"down"}}' }))
      bed.play('pair-b', answer({ body: completion('hi').replace('c-1', id) }))
      await (await bed.chat({ model: 'pair-of-ROUND', store: true })).text()
      bed.play('pair-b', answer({ status: 404, body: ' {"gone": true} ' }))
      const path = `/v1/chat/completions/${id}/messages?limit=2&after=%E4%BD%A0`
      const headers = { authorization: `Bearer ${TOKEN}` }
      const got = await fetch(`${bed.gateway.url}${path}`, { headers })
      expect([got.status, await got.text()]).toEqual([404, ' {"gone": true} '])
      expect(bed.seen('pair-b').map((request) => request.path)).toEqual(['/v1/chat/completions', path])
      const unknown = await fetch(`${bed.gateway.url}/v1/chat/completions/x${id}`, { headers })
      expect(unknown.status).toBe(404)
      expect(await unknown.json()).toMatchObject({ error: { code: 'unsupported_endpoint' } })
      expect(bed.seen('pair-b')).toHaveLength(2)
    })

    test('an upstream that is limited is not noticed', async () => {
      bed.play(
        'pair-a',
        answer({ status: 429, headers: { 'retry-after': '20' }, body: '{"error":{"message":"slow down"}}' }),
      )
      bed.play('pair-b', answer({ body: completion('from b') }))
      const got = await bed.chat({ model: 'pair-of-ROUND' })
      expect(await got.text()).toBe(completion('from b'))
      expect(got.headers.get('x-aiload-attempts')).toBe('2')
      await (await bed.chat({ model: 'pair-of-ROUND' })).text()
      expect(bed.seen('pair-a')).toHaveLength(1)
    })

    test('a connection that is reset before the answer is not noticed', async () => {
      bed.play('pair-a', reset())
      bed.play('pair-b', answer({ body: completion('from b') }))
      expect(await (await bed.chat({ model: 'pair-of-ROUND' })).text()).toBe(completion('from b'))
    })

    test('a stream that begins with an error goes to the next upstream', async () => {
      bed.play(
        'pair-a',
        answer({
          headers: STREAM,
          body: 'data: {"error":{"message":"overloaded","code":"server_error"}}\n\n',
        }),
      )
      bed.play('pair-b', answer({ headers: STREAM, body: chunk('from b') + LAST }))
      const got = await bed.chat({ model: 'pair-of-ROUND', stream: true })
      expect(await got.text()).toBe(chunk('from b') + LAST)
    })

    test('a stream that breaks between two events ends with an error event and no [DONE]', async () => {
      bed.play('solo', answer({ headers: STREAM, body: [chunk('one'), 50], ending: 'reset' }))
      const text = await (await bed.chat({ model: 'solo-of-ROUND', stream: true })).text()
      expect(text.startsWith(chunk('one'))).toBe(true)
      expect(JSON.parse(text.slice(chunk('one').length + 'data: '.length))).toMatchObject({
        error: { code: 'upstream_disconnected' },
      })
      expect(text).not.toContain('[DONE]')
    })

    test('a stream that falls silent ends with an error event after the timeout', async () => {
      bed.play('solo', answer({ headers: STREAM, body: [chunk('one'), new Promise(() => {})] }))
      const since = performance.now()
      const text = await (await bed.chat({ model: 'solo-of-ROUND', stream: true })).text()
      expect(text).toContain('"code":"upstream_timeout"')
      expect(performance.now() - since).toBeGreaterThan(TIMEOUT * 1000 - 100)
    })

    test(
      runtime.limits.breaksConnection
        ? 'a stream that breaks inside an event breaks the connection'
        : 'a stream that breaks inside an event loses that event, since this runtime ends every answer in order',
      async () => {
        const half = chunk('two').slice(0, 20)
        bed.play('solo', answer({ headers: STREAM, body: [chunk('one'), half, 50], ending: 'reset' }))
        const read = createTextReader(await bed.chat({ model: 'solo-of-ROUND', stream: true }))
        if (runtime.limits.breaksConnection) {
          await expect(read.rest()).rejects.toThrow()
          expect(read.text()).not.toContain('error')
        } else {
          const [one, broken, end] = (await read.rest()).split('\n\n')
          expect(`${one}\n\n`).toBe(chunk('one'))
          expect(broken).toContain('"code":"upstream_disconnected"')
          expect(end).toBe('')
        }
      },
    )

    test('a gzipped answer is decoded, and nothing says otherwise', async () => {
      const body = gzipSync(completion('packed'))
      bed.play('solo', answer({ headers: { 'content-encoding': 'gzip' }, body }))
      const got = await bed.chat({ model: 'solo-of-ROUND' }, { headers: { 'accept-encoding': 'identity' } })
      expect(await got.text()).toBe(completion('packed'))
      expect(got.headers.get('content-encoding')).toBeNull()
      expect(bed.seen('solo')[0]?.headers['accept-encoding']).toMatch(/identity/)
    })

    test('a body that is packed goes up plain, and one that is damaged, too large or unknown is refused', async () => {
      bed.play('solo', answer({ body: completion('hi') }))
      const sent = bed.inRound('{"model":"solo-of-ROUND","messages":[]}')
      const ask = async (coding: string, body: Uint8Array) => {
        const got = await fetch(`${bed.gateway.url}/v1/chat/completions`, {
          method: 'POST',
          headers: { authorization: `Bearer ${TOKEN}`, 'content-encoding': coding },
          body,
        })
        return [got.status, /"code":"(\w+)"/.exec(await got.text())?.[1]]
      }
      const packed = {
        gzip: gzipSync(sent),
        deflate: deflateSync(sent),
        'deflate, gzip': gzipSync(deflateRawSync(sent)),
      }
      if (!runtime.limits.decodes) {
        expect(await ask('gzip', packed.gzip)).toEqual([415, 'unsupported_encoding'])
        return
      }
      for (const [coding, body] of Object.entries(packed)) {
        expect([coding, ...(await ask(coding, body))]).toEqual([coding, 200, undefined])
        const seen = bed.seen('solo').at(-1)
        expect(text(seen?.body)).toBe(sent.replace(/solo-of-(\d+)/, 'solo-$1'))
        expect(seen?.headers['content-encoding']).toBeUndefined()
      }
      const calls = bed.seen('solo').length
      expect(await ask('gzip', gzipSync(sent).subarray(0, -9))).toEqual([400, 'invalid_encoding'])
      expect(await ask('deflate', Buffer.from(sent))).toEqual([400, 'invalid_encoding'])
      expect(await ask('compress', Buffer.from(sent))).toEqual([415, 'unsupported_encoding'])
      expect(await ask('gzip', gzipSync(Buffer.alloc(200_000_000, 0x20)))).toEqual([413, 'request_too_large'])
      expect(bed.seen('solo')).toHaveLength(calls)
    })

    test('a redirect is not followed', async () => {
      bed.play('pair-a', answer({ status: 307, headers: { location: bed.upstreams.solo.url } }))
      bed.play('pair-b', answer({ body: completion('from b') }))
      const got = await bed.chat({ model: 'pair-of-ROUND' })
      expect(await got.text()).toBe(completion('from b'))
      expect(bed.seen('solo')).toHaveLength(0)
    })

    test('of two keys called model neither reaches an upstream as the client wrote it', async () => {
      bed.play('solo', answer({ body: completion('hi') }))
      const got = await bed.chat('{"model":"solo-of-ROUND","messages":[],"model":"expensive"}')
      await got.text()
      if (got.status === 400) expect(bed.seen('solo')).toHaveLength(0)
      else expect(text(bed.seen('solo')[0]?.body)).not.toContain('expensive')
    })

    test('every byte of a body but the model stays as the client wrote it', async () => {
      bed.play('solo', answer({ body: completion('hi') }))
      const sent =
        '{ "seed":12345678901234567890, "temperature":1.0,"x":1e400,\n "model" : "solo-of-ROUND", "messages":[{"role":"user","content":"\\u00e9\\/ é 🎈"}] }'
      await (await bed.chat(sent)).text()
      const [seen] = bed.seen('solo')
      const got = text(seen?.body)
      expect(got).toBe(sent.replace('"solo-of-ROUND"', `"${/"model" : "([^"]*)"/.exec(got)?.[1]}"`))
      expect(got).toMatch(/"solo-\d+"/)
      expect(seen?.headers['content-length']).toBe(String(seen?.body.length))
      expect(seen?.headers['transfer-encoding']).toBeUndefined()
    })

    test('a client that leaves in the middle of a stream ends the upstream request', async () => {
      bed.play(
        'solo',
        answer({ headers: STREAM, body: [chunk('one'), 100, chunk('two'), new Promise(() => {})] }),
      )
      const leaving = new AbortController()
      const got = await bed.chat({ model: 'solo-of-ROUND', stream: true }, { signal: leaving.signal })
      await createTextReader(got).until('one')
      leaving.abort()
      await ended(bed.seen('solo')[0]?.closed, 1_500)
    })

    test(
      runtime.limits.tellsEarlyAbort
        ? 'a client that leaves before the first byte ends the upstream request'
        : 'a client that leaves before the first byte is not told by this runtime: the own timeout ends the attempt',
      async () => {
        bed.play('solo', stall())
        await leaveEarly(bed.gateway.url, bed.upstreams.solo.requests.length, (nth) =>
          bed.upstreams.solo.request(nth),
        )
        const since = performance.now()
        await ended(bed.seen('solo')[0]?.closed, TIMEOUT * 1000 + 3_000)
        const ms = performance.now() - since
        if (runtime.limits.tellsEarlyAbort) expect(ms).toBeLessThan(1_000)
        else expect(ms).toBeGreaterThan(1_000)
      },
    )

    test('a client that waits for a stream reads comments, and then the bytes of the answer', async () => {
      const gate = createGate()
      bed.play('solo', answer({ headers: STREAM, body: [gate.opened, chunk('one'), LAST] }))
      const got = await bed.chat({ model: 'solo-of-ROUND', stream: true })
      expect(got.headers.get('content-type')).toMatch(/^text\/event-stream/)
      const reader = createTextReader(got)
      await reader.until(': waiting\n\n')
      gate.open()
      expect((await reader.rest()).replaceAll(': waiting\n\n', '')).toBe(chunk('one') + LAST)
    })

    test('a client that leaves between comments ends the upstream request', async () => {
      bed.play('solo', stall())
      const leaving = new AbortController()
      const asked = { model: 'solo-of-ROUND', stream: true }
      const got = await bed.chat(asked, { signal: leaving.signal })
      await createTextReader(got).until(': waiting\n\n')
      leaving.abort()
      // With the next comment at the latest, and long before its time is over.
      await ended(bed.seen('solo')[0]?.closed, 1_200)
    })

    test('an upstream that says nothing is given up after the timeout', async () => {
      bed.play('pair-a', stall())
      bed.play('pair-b', answer({ body: completion('from b') }))
      const got = await bed.chat({ model: 'pair-of-ROUND' })
      expect(await got.text()).toBe(completion('from b'))
      await ended(bed.seen('pair-a')[0]?.closed, 1_500)
    })

    /** Leaves as a client does that is killed: its socket is gone. */
    async function leaveEarly(
      url: string,
      before: number,
      request: (nth: number) => Promise<unknown>,
    ): Promise<void> {
      const sent = bed.inRound(JSON.stringify({ model: 'solo-of-ROUND', messages: [] }))
      const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
      socket.write(
        `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${TOKEN}\r\ncontent-type: application/json\r\ncontent-length: ${sent.length}\r\n\r\n${sent}`,
      )
      await request(before + 1)
      socket.destroy()
    }
  })
}

const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)

async function ended(closed: Promise<void> | undefined, withinMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>(
    (_, reject) => (timer = setTimeout(() => reject(new Error(`still open after ${withinMs} ms`)), withinMs)),
  )
  await Promise.race([closed ?? Promise.reject(new Error('no request came')), late]).finally(() =>
    clearTimeout(timer),
  )
}

interface TextReader {
  text(): string
  until(part: string): Promise<string>
  rest(): Promise<string>
}

function createTextReader(answered: Response): TextReader {
  const reader = answered.body!.getReader()
  const decoder = new TextDecoder()
  let all = ''
  const more = async (): Promise<boolean> => {
    const { done, value } = await reader.read()
    if (!done) all += decoder.decode(value, { stream: true })
    return !done
  }
  return {
    text: () => all,
    async until(part) {
      while (!all.includes(part) && (await more()));
      return all
    },
    async rest() {
      while (await more());
      return all
    },
  }
}
