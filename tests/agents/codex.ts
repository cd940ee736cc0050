/** OpenAI's Codex CLI, fetched beside the project: `npm run test:codex` runs this file first. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { GatewayProcess } from '../support/gateway-process.ts'
import { toolsDirectory } from '../runtime/tools.ts'

/** Exactly this one: it is what the scripted model's tool calls are written for. */
const VERSION = '0.171.0'
const directory = join(toolsDirectory, 'codex')
const program = join(directory, 'node_modules/@openai/codex/bin/codex.js')

if (process.argv[1] === import.meta.filename) {
  if (!existsSync(program)) {
    mkdirSync(directory, { recursive: true })
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-save', '--no-package-lock']
    spawnSync('npm', ['install', '--prefix', directory, ...flags, `@openai/codex@${VERSION}`], {
      stdio: 'inherit',
    })
  }
  const { stdout } = spawnSync(process.execPath, [program, '--version'], { encoding: 'utf8' })
  if (!stdout.includes(VERSION)) {
    process.stderr.write(`Codex ${VERSION} is missing in ${directory}\n`)
    process.exit(1)
  }
}

/** Where `codex` stands, for a PATH. */
export const codexDirectory = join(directory, 'node_modules/.bin')

/** Nothing is asked for, nothing is shown but events, and no sandbox is needed. */
export const execFlags = ['--skip-git-repo-check', '--json', '--dangerously-bypass-approvals-and-sandbox']

/** What a run of `codex exec` has shown. */
export interface CodexRun {
  readonly code: number | null
  /** Its events, one JSON object a line. */
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs one turn in `home`, an empty directory that is its working directory too. It tries nothing again by itself:
 * what it gets is what the gateway gave. It runs what the model asks for without a sandbox.
 */
export async function runCodex(gateway: GatewayProcess, model: string, home: string): Promise<CodexRun> {
  const config = `model = "${model}"
model_provider = "gateway"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.gateway]
name = "gateway"
base_url = "${gateway.url}/v1"
env_key = "GATEWAY_TOKEN"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
`
  writeFileSync(join(home, 'config.toml'), config)
  const child = spawn(process.execPath, [program, 'exec', ...execFlags, 'Make the file.'], {
    cwd: home,
    env: { PATH: process.env['PATH'], HOME: home, CODEX_HOME: home, GATEWAY_TOKEN: gateway.token },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const printed = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => (printed[name] += text))
  const timer = setTimeout(() => child.kill('SIGKILL'), 40_000)
  const code = await new Promise<number | null>((resolve, reject) =>
    child.once('error', reject).once('close', resolve),
  )
  clearTimeout(timer)
  return { code, ...printed }
}
