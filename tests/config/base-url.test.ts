import { expect, test } from 'vitest'
import { parseBaseUrl } from '../../src/config/rules.ts'

test.each([
  ['https://api.openai.com/v1/chat/completions', 'https://api.openai.com/v1'],
  ['https://api.openai.com/v1/chat/completions///', 'https://api.openai.com/v1'],
  ['https://api.openai.com/v1', 'https://api.openai.com/v1'],
  ['https://api.openai.com/v1/', 'https://api.openai.com/v1'],
  [' HTTPS://API.OpenAI.com:443/v1 ', 'https://api.openai.com/v1'],
  ['https://api.deepseek.com', 'https://api.deepseek.com'],
  ['https://api.deepseek.com/chat/completions', 'https://api.deepseek.com'],
  ['http://localhost:11434/v1', 'http://localhost:11434/v1'],
  ['http://[::1]:8000/v1', 'http://[::1]:8000/v1'],
  ['https://bücher.example/v1', 'https://xn--bcher-kva.example/v1'],
  ['https://a.example/v1#part', 'https://a.example/v1'],
  ['https://a.example/v1?', 'https://a.example/v1'],
  ['https://a.example/chat/completions/v1', 'https://a.example/chat/completions/v1'],
])('%s has the root %s', (text, root) => {
  expect(parseBaseUrl(text)).toEqual({ root })
})

test('a query is kept beside the root', () => {
  expect(parseBaseUrl('https://a.example/openai/chat/completions?api-version=1&x=%20')).toEqual({
    root: 'https://a.example/openai',
    query: 'api-version=1&x=%20',
  })
})

test.each([
  ['api.openai.com/v1', 'is not a URL with http:// or https://'],
  ['localhost:8000/v1', 'is not a URL with http:// or https://'],
  ['https:/api.openai.com', 'is not a URL with http:// or https://'],
  ['', 'is empty'],
  ['https://', 'is not a URL'],
  ['https://a b.example/v1', 'is not a URL'],
  ['https://a.example/v1\n/x', 'is not a URL'],
  ['https://a.example:99999/v1', 'is not a URL'],
  ['ftp://a.example/v1', 'has a scheme that is neither http nor https'],
  ['file:///etc/passwd', 'has a scheme that is neither http nor https'],
  ['https://user@a.example/v1', 'has credentials in it'],
  ['https://:pw@a.example/v1', 'has credentials in it'],
  ['http://a.example:25/v1', 'has a port that fetch refuses to call'],
  ['http://a.example:0/v1', 'has a port that fetch refuses to call'],
])('%j is refused: %s', (text, message) => {
  expect(parseBaseUrl(text)).toEqual({ message, hint: expect.stringMatching(/./) as string })
})

test('the refused ports are among those that the fetch of this runtime refuses', async () => {
  const refusal = async (port: number): Promise<unknown> =>
    fetch(`http://127.0.0.1:${port}/`).catch((error: Error) => (error.cause as Error).message)
  for (const port of [
    1, 22, 79, 119, 139, 161, 427, 587, 993, 1720, 2049, 4190, 5061, 6000, 6566, 6669, 10_080,
  ]) {
    expect([port, await refusal(port)]).toEqual([port, 'bad port'])
    expect(parseBaseUrl(`http://127.0.0.1:${port}`)).toHaveProperty('message')
  }
})

test('a host that is not ASCII is read the thousandth time as the first', () => {
  const url = 'https://bücher.example/v1'
  for (let nth = 0; nth < 50_000; nth++) {
    if (!('root' in parseBaseUrl(url))) expect.fail(`refused at the ${nth}th time`)
  }
})
