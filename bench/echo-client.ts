/** A well-behaved client that asks one question after the other on one connection, each with a word of its own. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { fileURLToPath } from 'node:url'

/** What became of a question. */
export interface Echo {
  /** `own`: answered with its word; `other`: a 200 without it; else why not: a status, or the error's code. */
  readonly outcome: 'own' | 'other' | (string & {})
  readonly ms: number
}

/** The client; its connection is opened again when it has been closed. */
export interface EchoClient {
  ask(): Promise<Echo>
  /** How many connections it has needed so far. */
  readonly connections: number
  close(): void
}

/** A chat request whose answer, by the upstream of the HTTP bench, bears the word. */
export const echoBody = (word: string): string =>
  JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: `echo-${word}` }] })

/** The upstream of the HTTP bench, in a process of its own. */
export async function startEchoUpstream(port: number): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('http/upstream.ts', import.meta.url)), [`${port}`])
  process.once('exit', () => child.kill('SIGKILL'))
  await once(child, 'message')
  return child
}

/** @param name what its words begin with; letters and digits */
export function createEchoClient(target: { port: number; token: string }, name: string): EchoClient {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const { port, token } = target
  let asked = 0
  let connections = 0

  const send = (word: string): Promise<Echo['outcome']> =>
    new Promise((resolve) => {
      const text = echoBody(word)
      const headers = {
        'content-type': 'application/json',
        authorization: `Bearer ${token}`,
        'content-length': text.length,
      }
      const path = '/v1/chat/completions'
      const options = { host: '127.0.0.1', port, path, method: 'POST', agent, headers }
      const request = http.request(options, (answer) => {
        let seen = ''
        answer.setEncoding('utf8').on('data', (part: string) => (seen += part))
        answer.on('error', (error) => resolve(error.message))
        answer.on('end', () => {
          if (answer.statusCode !== 200) resolve(`${answer.statusCode}`)
          else resolve(seen.includes(`"echo-${word}"`) ? 'own' : 'other')
        })
      })
      request.on('socket', () => (connections += request.reusedSocket ? 0 : 1))
      request.on('error', (error) => resolve('code' in error ? String(error.code) : error.message))
      request.end(text)
    })

  return {
    async ask() {
      const since = performance.now()
      const outcome = await send(`${name}${asked++}`)
      return { outcome, ms: performance.now() - since }
    },
    get connections() {
      return connections
    },
    close: () => agent.destroy(),
  }
}
