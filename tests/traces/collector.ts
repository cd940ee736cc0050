/** OpenTelemetry's collector, built beside the project with its own builder, which takes minutes: `npm run test:traces` runs this file first. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { toolsDirectory } from '../runtime/tools.ts'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/until.ts'

const VERSION = '0.165.0'
const directory = join(toolsDirectory, 'otelcol')
const program = join(directory, `otelcol-${VERSION}`)
const PARTS = { receivers: ['receiver/otlpreceiver'], exporters: ['exporter/otlphttpexporter'] }

if (process.argv[1] === import.meta.filename && !existsSync(program)) {
  mkdirSync(directory, { recursive: true })
  const manifest = join(directory, 'builder.json')
  const part = (path: string) => ({ gomod: `go.opentelemetry.io/collector/${path} v${VERSION}` })
  const dist = { name: `otelcol-${VERSION}`, output_path: join(directory, 'build') }
  const { receivers, exporters } = PARTS
  // YAML takes JSON.
  writeFileSync(
    manifest,
    JSON.stringify({ dist, receivers: receivers.map(part), exporters: exporters.map(part) }),
  )
  const run = (command: string, args: readonly string[]): void => {
    const { status } = spawnSync(command, args, {
      stdio: 'inherit',
      env: { ...process.env, GOBIN: directory },
    })
    if (status !== 0) {
      process.stderr.write(`${command} ${args.join(' ')} failed; OpenTelemetry's collector cannot be built\n`)
      process.exit(1)
    }
  }
  run('go', ['install', `go.opentelemetry.io/collector/cmd/builder@v${VERSION}`])
  run(join(directory, 'builder'), ['--config', manifest])
  run('cp', [join(directory, 'build', `otelcol-${VERSION}`), program])
}

/** A collector that hands all that it understands on to `exporterUrl`, as JSON. @throws where it was not built */
export async function startOtelCollector(exporterUrl: string) {
  const port = await freePort()
  const config = {
    receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
    exporters: { otlp_http: { endpoint: exporterUrl, encoding: 'json', compression: 'none' } },
    service: {
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: { receivers: ['otlp'], exporters: ['otlp_http'] } },
    },
  }
  const child = spawn(program, ['--config', `yaml:${JSON.stringify(config)}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let told = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (told += text))
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`the collector has ended: ${told}`)))
  })
  failed.catch(() => {})
  const url = `http://127.0.0.1:${port}`
  const isUp = () =>
    fetch(url).then(
      () => true,
      () => false,
    )
  await Promise.race([failed, until(isUp, (up) => up)])
  return { url, said: () => told, stop: () => void child.kill('SIGKILL') }
}
