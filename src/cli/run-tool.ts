import { spawn, type ChildProcess } from 'node:child_process'
import { systemCodeOf } from '../errors.ts'
import type { Endpoint } from '../pool/upstream.ts'
import type { GatewayStatus } from '../telemetry/status.ts'
import type { Command } from './arguments.ts'
import { printFailure } from './process.ts'
import { askGateway, askStatus, jsonIn, withGateway, type RunningGateway } from './running-gateway.ts'

/** What a tool is told of the gateway: variables of its environment, and arguments in front of the user's own. */
interface Introduction {
  readonly env: Readonly<Record<string, string>>
  readonly args?: readonly string[]
}

/** A coding agent, and how it is told where to send its requests. */
interface Tool {
  readonly endpoint: Endpoint
  /** It calls tools of the model's, and is of no use without. */
  readonly needsTools: boolean
  readonly install: string
  readonly introduce: (gateway: RunningGateway, status: GatewayStatus) => Introduction
}

const v1 = ({ url }: RunningGateway): string => `${url}/v1`

const tools: Readonly<Record<string, Tool>> = {
  /*
   * https://developers.openai.com/codex/config-reference: `-c key=value` in TOML goes before config.toml, a provider of
   * one's own names the variable that holds its key, and `responses` is the one protocol left.
   */
  codex: {
    endpoint: 'responses',
    needsTools: true,
    install: 'npm install -g @openai/codex',
    introduce(gateway) {
      // A string of JSON is a basic string of TOML.
      const base = JSON.stringify(v1(gateway))
      const provider = `{ name = "AILoad", base_url = ${base}, env_key = "AILOAD_TOKEN", wire_api = "responses" }`
      const settings = ['model="auto"', 'model_provider="aiload"', `model_providers.aiload=${provider}`]
      return { env: { AILOAD_TOKEN: gateway.token }, args: settings.flatMap((each) => ['-c', each]) }
    },
  },
  /*
   * https://opencode.ai/docs/config: OPENCODE_CONFIG_CONTENT is merged over all files of the user;
   * https://opencode.ai/docs/providers: a provider of one's own names its package, address, key and models.
   */
  opencode: {
    endpoint: 'chat',
    needsTools: true,
    install: 'npm install -g opencode-ai',
    introduce(gateway, { models }) {
      const given = jsonIn<{ provider: object }>(process.env['OPENCODE_CONFIG_CONTENT'] ?? '')
      const aiload = {
        npm: '@ai-sdk/openai-compatible',
        name: 'AILoad',
        options: { baseURL: v1(gateway), apiKey: gateway.token },
        models: Object.fromEntries(models.map((name) => [name, { name }])),
      }
      const provider = { ...given.provider, aiload }
      const content = { ...given, provider, model: 'aiload/auto', small_model: 'aiload/auto' }
      return { env: { OPENCODE_CONFIG_CONTENT: JSON.stringify(content) } }
    },
  },
  /*
   * https://aider.chat/docs/llms/openai-compat.html: address and key from these variables, the model behind `openai/`;
   * https://aider.chat/docs/llms/warnings.html: of a model that it does not know it would warn and ask first.
   */
  aider: {
    endpoint: 'chat',
    needsTools: false,
    install: 'python -m pip install aider-install && aider-install',
    introduce: (gateway) => ({
      env: { OPENAI_API_BASE: v1(gateway), OPENAI_API_KEY: gateway.token },
      args: ['--model', 'openai/auto', '--no-show-model-warnings'],
    }),
  },
  /*
   * https://code.claude.com/docs/en/llm-gateway: it asks for `/v1/messages` below ANTHROPIC_BASE_URL. Of models it knows
   * its own names alone, which the account behind the gateway has where that passes them on.
   */
  claude: {
    endpoint: 'chat',
    needsTools: false,
    install: 'npm install -g @anthropic-ai/claude-code',
    introduce: ({ url, token }) => ({ env: { ANTHROPIC_BASE_URL: url, ANTHROPIC_AUTH_TOKEN: token } }),
  },
}

/**
 * Starts a coding agent with what it needs to use the running gateway, and writes nothing. Its arguments, streams and signals
 * are the caller's, and so is its exit code; 1 and a line where something is missing.
 */
export const runTool = (command: Command): Promise<number> =>
  withGateway(command, async (gateway) => {
    const { word: name = '', rest = [] } = command
    const status = await askStatus(gateway)
    const tool = tools[name]
    if (tool === undefined) return printFailure(`there is no tool ${name}`)
    const missing =
      missingFor({ name, tool }, status) ?? (name === 'claude' ? await messagesMissing(gateway) : undefined)
    if (missing !== undefined) return printFailure(missing)
    const { env, args = [] } = tool.introduce(gateway, status)
    const child = spawn(name, [...args, ...rest], {
      stdio: 'inherit',
      env: { ...process.env, ...exemptFromProxies(gateway.host), ...env },
    })
    return endOf(child, `${name} is not installed, or not on the PATH; its makers say: ${tool.install}`)
  })

/** What of a tool's needs no upstream has, as far as the gateway knows. */
function missingFor({ name, tool }: { name: string; tool: Tool }, { upstreams }: GatewayStatus) {
  const { endpoint, needsTools } = tool
  const serving = upstreams.filter(({ enabled, endpoints }) => enabled && endpoints.includes(endpoint))
  if (serving.length === 0)
    return `${name} needs the endpoint "${endpoint}", which no enabled upstream serves (models[].endpoints)`
  const isAble = serving.some(({ abilities }) => abilities.can['tools']?.can !== false)
  return needsTools && !isAble
    ? `${name} needs a model that can call tools, and none of the upstreams with the endpoint "${endpoint}" can (models[].can)`
    : undefined
}

/** The gateway says by itself whether it passes Anthropic's paths on; an empty question costs nothing anywhere. */
async function messagesMissing(gateway: RunningGateway): Promise<string | undefined> {
  const { text } = await askGateway(gateway, { path: '/v1/messages', body: {} })
  if (!text.includes('protocol is not spoken here')) return undefined
  return `Claude Code speaks Anthropic's Messages API (/v1/messages), and this gateway speaks OpenAI's alone. Two ways: a translator between the two, such as LiteLLM or claude-code-router, that asks ${v1(gateway)}; or settings.passthrough_paths "all" with settings.passthrough, which hands those requests as they are to one upstream that speaks it`
}

/** A proxy of the environment would be asked for the gateway too. */
function exemptFromProxies(host: string): Record<string, string> {
  const isProxied = ['http_proxy', 'https_proxy', 'all_proxy'].some(
    (name) => process.env[name] || process.env[name.toUpperCase()],
  )
  if (!isProxied) return {}
  const exempt = [process.env['no_proxy'] || process.env['NO_PROXY'], host].filter(Boolean).join(',')
  return { no_proxy: exempt, NO_PROXY: exempt }
}

const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'] as const

/** Waits for a child and ends as it does: with its code, or by the signal that ended it. */
function endOf(child: ChildProcess, notThere: string): Promise<number> {
  const forward = (signal: NodeJS.Signals): void => {
    // What is typed in a terminal the terminal sends to both.
    const isTyped = process.stdin.isTTY && (signal === 'SIGINT' || signal === 'SIGQUIT')
    if (!isTyped) child.kill(signal)
  }
  for (const signal of FORWARDED) process.on(signal, forward)
  return new Promise((resolve) => {
    child.once('error', (error) => {
      const code = systemCodeOf(error)
      resolve(printFailure(code === 'ENOENT' ? notThere : `${child.spawnfile} cannot be started (${code})`))
    })
    child.once('exit', (code, signal) => {
      for (const each of FORWARDED) process.off(each, forward)
      if (signal !== null) process.kill(process.pid, signal)
      resolve(code ?? 1)
    })
  })
}
