import http from 'node:http'

/** What came back; `error` when the connection broke, before or in the middle of the answer. */
export interface LoadAnswer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  readonly error?: string
}

/** A client for many requests: a tenth of the cost of fetch. */
export interface LoadClient {
  /** `POST /v1/chat/completions`. Never rejects. */
  chat(body?: object, signal?: AbortSignal): Promise<LoadAnswer>
  close(): void
}

/** @param gateway where to send, and the token for it */
export function createLoadClient({ port, token }: { port: number; token: string }): LoadClient {
  const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity })
  return {
    chat: (body = {}, signal) =>
      new Promise((resolve) => {
        const text = JSON.stringify({
          model: 'auto',
          messages: [{ role: 'user', content: 'Hello' }],
          ...body,
        })
        const headers = {
          authorization: `Bearer ${token}`,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
        }
        const request = http.request(
          {
            host: '127.0.0.1',
            port,
            method: 'POST',
            path: '/v1/chat/completions',
            headers,
            agent,
            ...(signal && { signal }),
          },
          (response) => {
            const chunks: Buffer[] = []
            const end = (error?: string): void => {
              const text = Buffer.concat(chunks).toString()
              resolve({
                status: response.statusCode ?? 0,
                headers: response.headers,
                text,
                ...(error !== undefined && { error }),
              })
            }
            response.on('data', (chunk: Buffer) => chunks.push(chunk))
            response.on('end', () => end())
            response.on('error', (error) => end(codeOf(error)))
          },
        )
        request.on('error', (error) => resolve({ status: 0, headers: {}, text: '', error: codeOf(error) }))
        request.end(text)
      }),
    close: () => agent.destroy(),
  }
}

const codeOf = (error: Error): string => ('code' in error ? String(error.code) : error.message)

/** Does something `times` times, so many at once. */
export async function atOnce(
  concurrency: number,
  times: number,
  task: (nth: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const work = async (): Promise<void> => {
    while (next < times) await task(next++)
  }
  await Promise.all(Array.from({ length: concurrency }, work))
}
