import { demoToken } from './demo-config.ts'
import type { PretendUpstream } from './demo-upstream.ts'

/** What the demo shows to a newcomer. */
export interface DemoPlace {
  readonly port: number
  /** The port that was wanted and taken, when it is another. */
  readonly insteadOf?: number
  readonly upstreams: readonly PretendUpstream[]
}

const natureText = (upstreams: readonly PretendUpstream[]): string =>
  upstreams
    .map(({ nature }) => `  ${nature.name.padEnd(8)} ${descriptions[nature.name] ?? nature.model}`)
    .join('\n')

const descriptions: Readonly<Record<string, string>> = {
  quick: 'first word after 0.1 s',
  slow: 'first word after 2 s, then word by word',
  limited: '5 requests a minute, then 429',
}

/** What to type and what to watch; every line works as it stands, in sh, bash and zsh. */
export function demoText({ port, insteadOf, upstreams }: DemoPlace): string {
  const base = `http://localhost:${port}/v1`
  const auth = `-H 'authorization: Bearer ${demoToken}'`
  const ask = (body: string): string => `${base}/chat/completions ${auth} -d '${body}'`
  const question = '"model":"auto","messages":[{"role":"user","content":"Who are you?"}]'
  const quick = upstreams.find(({ nature }) => nature.name === 'quick')?.url
  const format = String.raw`%{http_code} %header{x-aiload-upstream} after %header{x-aiload-attempts} attempt(s), %{time_total} s\n`
  const taken = insteadOf === undefined ? '' : ` (port ${insteadOf} is taken by another program)`

  return `AILoad demo: the gateway listens on ${base}${taken}
In front of three pretend upstreams, chosen by round_robin without affinity:
${natureText(upstreams)}
No key is needed and nothing is written. The token is ${demoToken}. Ctrl-C ends it.

Ask, in another terminal:
  curl ${ask(`{${question}}`)}

Stream:
  curl -N ${ask(`{${question},"stream":true}`)}

Twenty at once. Watch who answers, and that the limited upstream's 429 never reaches you:
  (for i in $(seq 20); do curl -s -o /dev/null -w '${format}' ${ask(`{${question}}`)} & done; wait)

Break the quick upstream, ask on, and mend it with the same line:
  curl -X POST ${quick}/break

OpenAI SDK for JavaScript:
  const client = new OpenAI({ baseURL: '${base}', apiKey: '${demoToken}' })
  await client.chat.completions.create({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] })

OpenAI SDK for Python:
  client = OpenAI(base_url="${base}", api_key="${demoToken}")
  client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hello"}])

State and metrics:
  curl ${auth} http://localhost:${port}/admin/status
  curl ${auth} http://localhost:${port}/metrics

Every request has a line below: status, endpoint, model asked for and upstream, time, and the attempts
where there was more than one.
`
}
