/**
 * A real gateway under traffic, read by Prometheus' own tools, and the dashboard by Grafana's. They come with the system:
 * `apt-get install prometheus` brings promtool too, and go fetches Grafana's SDK. `npm run test:metrics` fails where one is missing.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { errorBody, healthy } from '../support/believable.ts'
import { refusedUrl } from '../support/dead-ends.ts'
import { startGateway, testToken, type GatewayProcess } from '../support/gateway-process.ts'
import { alerts, dashboard, expressionsOf, metricsIn } from '../support/monitoring.ts'
import { freePort } from '../support/free-port.ts'
import { startCollector } from '../support/otlp.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

const config = fileURLToPath(new URL('../../config/', import.meta.url))
const promtool = (args: readonly string[], input?: string): { status: number | null; output: string } => {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, { encoding: 'utf8', input })
  if (error !== undefined) throw error
  return { status, output: stdout + stderr }
}

const TOKEN_OF_PHONE = 'sk-the-token-of-the-phone-0123456789'

const directory = mkdtempSync(join(tmpdir(), 'aiload-metrics-'))
const upstreams: ScriptedUpstream[] = []
let gateway: GatewayProcess
let collector: Awaited<ReturnType<typeof startCollector>>

/** Everything that has a metric has happened: answers, a refused key, one that is gone, limits, a wait, a refused reload. */
beforeAll(async () => {
  mkdirSync(join(directory, 'gateway'))
  collector = await startCollector()
  const well = await startScriptedUpstream(healthy())
  const keyless = await startScriptedUpstream(answer({ status: 401, body: errorBody('invalid_api_key') }))
  upstreams.push(well, keyless)
  const at = (url: string, name: string, more = {}) => ({
    base_url: `${url}/v1`,
    model: 'm',
    name,
    api_key: name,
    ...more,
  })
  const models = [
    at(keyless.url, 'keyless'),
    at(refusedUrl(), 'a "name" with \\ and ü'),
    at(well.url, 'limited', { limits: { rpm: 2, tpd: 100_000, windows: [{ requests: 9000, per: '5h' }] } }),
    at(well.url, 'narrow', { limits: { concurrency: 1 } }),
  ]
  gateway = await startGateway(
    {
      models,
      tokens: [{ name: 'phone', token: TOKEN_OF_PHONE, limits: { rpm: 100 } }],
      settings: {
        strategy: 'in_order',
        affinity: 'off',
        queue_timeout: 2,
        traces: { endpoint: collector.url },
      },
    },
    { directory: join(directory, 'gateway') },
  )
  const statuses = await Promise.all(Array.from({ length: 40 }, async () => (await gateway.chat()).status))
  expect(statuses.filter((status) => status === 200).length).toBeGreaterThan(20)
  const authorization = { authorization: `Bearer ${TOKEN_OF_PHONE}` }
  expect((await gateway.chat({}, { headers: authorization })).status).toBe(200)
  await gateway.fetch('/v1/nothing')
  await gateway.fetch('/v1/models')
  gateway.writeConfig('{ "models": [ ]')
  await gateway.printed(/the last good one stays/)
})

afterAll(async () => {
  await gateway.stop()
  collector.close()
  for (const upstream of upstreams) await upstream.close()
  rmSync(directory, { recursive: true, force: true })
})

test('promtool finds nothing to say about /metrics under traffic', async () => {
  const text = await (await gateway.fetch('/metrics')).text()
  expect(promtool(['check', 'metrics'], text)).toEqual({ status: 0, output: '' })
  expect(
    promtool(['check', 'metrics'], `${text}# TYPE aiload_slips counter\naiload_slips 3\n`).status,
  ).not.toBe(0)
})

test('promtool takes the alert rules, and each fires when it should and only then', () => {
  const rules = promtool(['check', 'rules', join(config, 'prometheus/alerts.yml')])
  expect(rules.output).toContain(`${alerts().length} rules found`)
  expect(rules.status).toBe(0)
  const tried = promtool(['test', 'rules', join(config, 'prometheus/alerts.test.yml')])
  expect(tried).toEqual({ status: 0, output: expect.stringContaining('SUCCESS') as string })
})

describe('Prometheus that scrapes it', () => {
  let base: string
  let stop: () => void

  beforeAll(async () => {
    const port = await freePort()
    base = `http://127.0.0.1:${port}`
    const file = join(directory, 'prometheus.yml')
    writeFileSync(
      file,
      `global: { scrape_interval: 500ms, evaluation_interval: 500ms }
rule_files: ["${join(config, 'prometheus/alerts.yml')}"]
scrape_configs:
  - job_name: aiload
    authorization: { credentials: "${testToken}" }
    static_configs: [{ targets: ["127.0.0.1:${gateway.port}"] }]
`,
    )
    const listen = ['--web.listen-address', `127.0.0.1:${port}`, '--log.level=error']
    const storage = ['--storage.tsdb.path', join(directory, 'tsdb')]
    const prometheus = spawn('prometheus', ['--config.file', file, ...listen, ...storage], {
      stdio: 'inherit',
    })
    stop = () => void prometheus.kill('SIGKILL')
    const failed = new Promise<never>((_, reject) => void prometheus.once('error', reject))
    await Promise.race([
      failed,
      until(
        () => valuesOf('up{job="aiload"}'),
        (values) => values[0] === 1,
      ),
    ])
    // Rates need two scrapes that differ.
    await until(
      () => valuesOf('changes(process_cpu_seconds_total[1m])'),
      ([changes = 0]) => changes >= 3,
    )
  })
  afterAll(() => stop())

  interface Answer {
    readonly status: string
    readonly error?: string
    readonly data?: { readonly result: readonly { readonly value: readonly [number, string] }[] }
  }

  async function query(expr: string): Promise<Answer> {
    const asked = await fetch(`${base}/api/v1/query`, {
      method: 'POST',
      body: new URLSearchParams({ query: expr }),
    }).catch(() => undefined)
    return asked?.ok === true || asked?.status === 400
      ? ((await asked.json()) as Answer)
      : { status: 'not yet' }
  }
  const valuesOf = async (expr: string): Promise<number[]> =>
    ((await query(expr)).data?.result ?? []).map(({ value: [, text] }) => Number(text))

  /** As Grafana fills them in, with everything chosen. */
  const filledIn = (expr: string): string =>
    expr.replaceAll('$__rate_interval', '1m').replaceAll('$__range', '3h').replaceAll(/\$\w+/g, '.*')

  /** What nothing has happened to here, or what the system is not asked for twice. */
  const MAY_BE_EMPTY = /runs_out|reopens|changes\(/

  test('every question of the dashboard has an answer', async () => {
    const silent: string[] = []
    for (const expr of expressionsOf(dashboard())) {
      const { status, error, data } = await query(filledIn(expr))
      expect([expr, status, error]).toEqual([expr, 'success', undefined])
      if (data?.result.length === 0 && !MAY_BE_EMPTY.test(expr)) silent.push(expr)
    }
    expect(silent).toEqual([])
  })

  test('the rules see the refused key and the refused configuration', async () => {
    const seen = await until(
      () => valuesOf('ALERTS{alertname=~"AILoadKeyRefused|AILoadConfigurationRefused"}'),
      ({ length }) => length === 2,
    )
    expect(seen).toEqual([1, 1])
    expect(await valuesOf('aiload_unavailable{reason="auth", upstream="keyless"}')).toEqual([1])
    expect(await valuesOf('aiload_in_flight{upstream="a \\"name\\" with \\\\ and ü"}')).toEqual([0])
  })

  test('every metric but those of what did not happen has samples', async () => {
    const text = await (await gateway.fetch('/metrics')).text()
    const asked = expressionsOf(dashboard()).flatMap(metricsIn)
    const absent = [...new Set(asked)].filter((name) => !metricsIn(text).includes(name))
    expect(absent.filter((name) => !/runs_out|reopens/.test(name))).toEqual([])
  })
})

test("Grafana's own SDK reads the dashboard, panel by panel", () => {
  const text = JSON.stringify(dashboard())
  const cwd = fileURLToPath(new URL('load-dashboard', import.meta.url))
  const read = execFileSync('go', ['run', '.'], { cwd, input: text, encoding: 'utf8' })
  expect(Number(read)).toBe(dashboard().panels.length)
  const odd = text.replaceAll('"fillOpacity"', '"fillOpacities"')
  expect(() => execFileSync('go', ['run', '.'], { cwd, input: odd, stdio: 'pipe' })).toThrow('fillOpacities')
})
