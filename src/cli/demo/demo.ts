/*
 * cli/demo: the gateway in front of three pretended upstreams, so that somebody can see it choose, fail over and wait
 * without a key. Everything runs in one process and writes no file.
 *
 * demo      the command: its configuration, and what it tells
 * upstream  a pretended upstream: what it answers, how quick it is, what it limits
 */
import { startNodeGateway } from '../../adapter/node/gateway.ts'
import { createPageFile } from '../../adapter/node/page-file.ts'
import { takeSignals } from '../../adapter/node/signals.ts'
import type { Config } from '../../config/config.ts'
import { loadConfig } from '../../config/load.ts'
import { problemLine } from '../../config/problem.ts'
import { systemCodeOf } from '../../errors.ts'
import type { Report } from '../../relay/deps.ts'
import { listenFailure, type Command } from '../arguments.ts'
import { createLogOutput } from '../log-output.ts'
import { pageFile } from '../package-files.ts'
import { installCrashHandlers, printFailure } from '../process.ts'
import { profiles, startPretendUpstream, type PretendUpstream } from './upstream.ts'

/**
 * Serves the gateway in front of three pretend upstreams of this process until a signal ends it. Needs no
 * key and no file, and writes none. A taken port is no obstacle: the next free one is said.
 */
export async function runDemo({ port: wanted = 2081 }: Command): Promise<number> {
  const signals = takeSignals()
  const log = createLogOutput('pretty')
  installCrashHandlers(log)

  const upstreams = await Promise.all(profiles.map(startPretendUpstream))
  const gateway = await startOnFreePort(wanted, upstreams, log.report)
  if (typeof gateway === 'string') {
    for (const upstream of upstreams) upstream.close()
    return printFailure(gateway)
  }
  log.say(demoText(upstreams, gateway.port, wanted).split('\n'))
  log.flush()

  // A terminal that was closed ends the demo, which has nothing to reload.
  const hungUp = new Promise<void>((resolve) => signals.onHangUp(resolve))
  await Promise.race([signals.toEnd, hungUp])
  await gateway.close()
  log.flush()
  process.exit(0)
}

/** The gateway, or why there is none. */
async function startOnFreePort(wanted: number, upstreams: readonly PretendUpstream[], log: Report) {
  const last = wanted === 0 ? 0 : Math.min(wanted + 20, 65_535)
  for (let port = wanted; ; port += 1) {
    const config = demoConfig(upstreams, port)
    try {
      return await startNodeGateway(config, { log, page: createPageFile(pageFile()) })
    } catch (error) {
      if (systemCodeOf(error) !== 'EADDRINUSE' || port === last) return listenFailure(error, config.server)
    }
  }
}

/** What to type and what to watch; every line works as it stands, in sh, bash and zsh. */
function demoText(upstreams: readonly PretendUpstream[], port: number, wanted: number): string {
  const base = `http://localhost:${port}/v1`
  const auth = `-H 'authorization: Bearer ${demoToken}'`
  const ask = (body: string): string => `${base}/chat/completions ${auth} -d '${body}'`
  const question = '"model":"auto","messages":[{"role":"user","content":"Who are you?"}]'
  const quick = upstreams.find(({ profile }) => profile.name === 'quick')?.url
  const format = String.raw`%{http_code} %header{x-aiload-upstream} after %header{x-aiload-attempts} attempt(s), %{time_total} s\n`
  const taken = wanted === 0 || wanted === port ? '' : ` (port ${wanted} is taken by another program)`
  const list = upstreams.map(({ profile }) => `  ${profile.name.padEnd(8)} ${profile.summary}`).join('\n')

  return `AILoad demo: the gateway listens on ${base}${taken}
In front of three pretend upstreams, chosen by round_robin without affinity:
${list}
No key is needed and nothing is written. The token is ${demoToken}. Ctrl-C ends it.

Watch it in a browser, and sign in with the token:
  http://localhost:${port}/

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

/** The demo's token is no secret: the gateway listens on the loopback address alone and spends nobody's money. */
const demoToken = 'sk-demo'

/** The configuration of the demo, through the same door as everybody's. */
function demoConfig(upstreams: readonly PretendUpstream[], port: number): Config {
  const text = JSON.stringify({
    auth_token: demoToken,
    models: upstreams.map(({ profile, url }) => ({
      name: profile.name,
      model: `demo-${profile.name}`,
      base_url: `${url}/v1`,
      endpoints: ['chat'],
    })),
    server: { host: '127.0.0.1', port },
    settings: { strategy: 'round_robin', affinity: 'off', timeout: 30, drain_timeout: 1 },
  })
  const loaded = loadConfig(text, {}, 'the demo')
  if (!loaded.ok) throw new Error(loaded.problems.map(problemLine).join('\n'))
  return loaded.config
}
