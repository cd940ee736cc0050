import { describe, expect, test } from 'vitest'
import { ask, errorOf } from '../support/ask.ts'
import { answer, configOf, createTestApp } from '../support/test-app.ts'

/** Nothing of a body becomes a string whose length its client decides. */
const MOST = 4096
const create = (settings: object = {}) =>
  createTestApp(configOf(['a.test'], { settings: { unknown_model: 'auto', ...settings } }), ({ host }) =>
    answer(host),
  )
const post = (gateway: ReturnType<typeof create>, body: string, headers = {}, path = 'chat/completions') =>
  ask(gateway, `/v1/${path}`, { body, headers })

const FIELDS = ['model', 'user', 'prompt_cache_key', 'previous_response_id', 'conversation']

test.each(FIELDS)('%s may have 4 KB as it is sent, and not a byte more', async (name) => {
  for (const path of ['chat/completions', 'responses']) {
    const gateway = create({ affinity: 'user' })
    const ofBytes = (count: number): string => JSON.stringify({ [name]: 'x'.repeat(count) })
    expect((await post(gateway, ofBytes(MOST), {}, path)).status).toBe(200)
    const response = await post(gateway, ofBytes(MOST + 1), {}, path)
    expect(response.status).toBe(400)
    expect(await errorOf(response)).toMatchObject({
      code: name === 'model' ? 'invalid_model' : 'bad_request',
      param: name,
    })
    expect(gateway.calls).toHaveLength(1)
    expect(gateway.memory.held).toBe(0)
  }
})

test.each(FIELDS)('%s written as escapes counts as it is sent', async (name) => {
  const gateway = create()
  const escaped = (characters: number): string => `{"${name}":"${'\\u0061'.repeat(characters)}"}`
  expect((await post(gateway, escaped(682))).status).toBe(200)
  expect((await post(gateway, escaped(683))).status).toBe(400)
  expect((await post(gateway, escaped(1_000_000))).status).toBe(400)
})

test('a conversation that is an object is not longer, and its id is read as JSON', async () => {
  const gateway = createTestApp(
    configOf(['a.test', 'b.test'], { settings: { strategy: 'round_robin' } }),
    ({ host }) => answer(host),
  )
  const answered = async (conversation: object): Promise<number> =>
    (await post(gateway, JSON.stringify({ input: 'x', conversation }), {}, 'responses')).status
  expect(await answered({ id: 'x'.repeat(MOST - 10) })).toBe(200)
  expect(await answered({ id: 'x'.repeat(MOST) })).toBe(400)
  const before = gateway.hosts().length
  for (let nth = 0; nth < 6; nth++) expect(await answered({ a: { id: `${nth}` }, id: 'conv "1"' })).toBe(200)
  expect(new Set(gateway.hosts().slice(before)).size).toBe(1)
})

test('the model of a form may have 4 KB too', async () => {
  const gateway = create()
  const form = (model: string): string =>
    `--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n${model}\r\n--b--\r\n`
  const type = { 'content-type': 'multipart/form-data; boundary=b' }
  const path = 'audio/transcriptions'
  expect((await post(gateway, form('x'.repeat(MOST)), type, path)).status).toBe(200)
  const response = await post(gateway, form('x'.repeat(MOST + 1)), type, path)
  expect([response.status, (await errorOf(response)).code]).toEqual([400, 'invalid_model'])
})

test('a header that is an affinity key may have 4 KB, and other headers are not looked at', async () => {
  const long = { 'x-session': 'x'.repeat(MOST + 1) }
  expect((await post(create(), '{}', long)).status).toBe(200)
  const gateway = create({ affinity: 'header:x-session' })
  expect((await post(gateway, '{}', { 'x-session': 'x'.repeat(MOST) })).status).toBe(200)
  const response = await post(gateway, '{}', long)
  expect(response.status).toBe(400)
  expect(await errorOf(response)).toMatchObject({ code: 'bad_request', param: 'x-session' })
})

describe('what is no name', () => {
  test('a number of a million digits names no maximum', async () => {
    const gateway = create()
    for (const name of ['max_tokens', 'n', 'max_output_tokens'])
      expect((await post(gateway, `{"${name}":1${'0'.repeat(1_000_000)}}`)).status).toBe(200)
  })

  test('a conversation of megabytes sticks by how it begins', async () => {
    const gateway = createTestApp(
      configOf(['a.test', 'b.test', 'c.test', 'd.test'], {
        settings: { affinity: 'conversation', strategy: 'round_robin' },
      }),
      ({ host }) => answer(host),
    )
    const text = 'one of many words '.repeat(60_000)
    for (const ending of ['', ', and on it goes']) {
      const before = gateway.hosts().length
      for (let nth = 0; nth < 5; nth++) {
        const later = Array.from({ length: nth }, () => ({ role: 'assistant', content: 'yes' }))
        const messages = [{ role: 'user', content: text + ending }, ...later]
        expect((await gateway.chat({ messages })).status).toBe(200)
      }
      expect(new Set(gateway.hosts().slice(before)).size).toBe(1)
    }
  })
})
