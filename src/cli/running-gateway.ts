import http from 'node:http'
import { isIPv6 } from 'node:net'
import { readAccess } from '../adapter/node/config-file.ts'
import type { ServerConfig } from '../config/config.ts'
import { problemLine } from '../config/problem.ts'
import { systemCodeOf } from '../errors.ts'
import type { GatewayStatus } from '../telemetry/status.ts'
import { searchOf, type Command } from './arguments.ts'

/** A gateway that runs on this machine, as its configuration says. */
export interface RunningGateway {
  /** Without `/v1`. */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Empty where none stands in the configuration. */
  readonly token: string
  /** The configuration that says so. */
  readonly file: string
}

/** Where the gateway of a configuration is to be found; `problems` where that can't be read, a line each. */
export function gatewayOf(
  given: Pick<Command, 'config' | 'port' | 'host'>,
): RunningGateway | { readonly problems: readonly string[] } {
  const { place: file, loaded } = readAccess(searchOf(given.config))
  if (!loaded.ok) return { problems: loaded.problems.map(problemLine) }
  const {
    server,
    authTokens: [token = ''],
  } = loaded.config
  const host = reachableHost(given.host ?? server.host)
  const port = given.port ?? server.port
  return { url: originOf({ host, port }), host, port, token, file }
}

/** Somebody who listens on all addresses is asked on the loopback one. */
function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}

/** As a URL writes it. */
const originOf = ({ host, port }: Pick<ServerConfig, 'host' | 'port'>): string =>
  `http://${isIPv6(host) ? `[${host}]` : host}:${port}`

/** What the gateway answered. */
interface Told {
  readonly status: number
  readonly text: string
}

interface Question {
  readonly path: string
  /** Sent as JSON, with POST. */
  readonly body?: object
  /** 10 s unless given. */
  readonly timeoutMs?: number
}

/** More than any status page has. */
const MOST_BYTES = 64 * 2 ** 20

/** Asks a running gateway, with its token; a line that says why where nothing comes back. */
export async function askGateway(gateway: RunningGateway, question: Question): Promise<Told | string> {
  const { timeoutMs = 10_000 } = question
  try {
    return await exchange(gateway, { ...question, timeoutMs })
  } catch (error) {
    const code = systemCodeOf(error) ?? 'unknown error'
    const { url, file } = gateway
    if (code === 'ECONNREFUSED')
      return `nothing listens on ${url}; is the gateway of ${file} started? One on another port is asked with --port`
    if (code === 'ABORT_ERR') return `${url} gives no answer within ${timeoutMs / 1_000} s`
    return `${url} cannot be asked (${code})`
  }
}

function exchange(
  gateway: RunningGateway,
  { path, body, timeoutMs }: Required<Omit<Question, 'body'>> & Question,
) {
  const { host, port, token } = gateway
  const text = body === undefined ? undefined : JSON.stringify(body)
  return new Promise<Told>((resolve, reject) => {
    const headers = {
      ...(token !== '' && { authorization: `Bearer ${token}` }),
      ...(text !== undefined && { 'content-type': 'application/json' }),
    }
    const signal = AbortSignal.timeout(timeoutMs)
    // An agent of its own: the common one may go through a proxy of the environment.
    const call = http.request(
      { host, port, path, headers, signal, agent: false, method: text === undefined ? 'GET' : 'POST' },
      (answer) => {
        let received = ''
        answer.setEncoding('utf8').on('error', reject)
        answer.on('data', (chunk: string) => {
          received += chunk
          if (received.length > MOST_BYTES) call.destroy(new Error('the answer is too long'))
        })
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text: received }))
      },
    )
    call.on('error', reject)
    call.end(text)
  })
}

/** Why an answer is not what was asked for, in a line; undefined where it is. */
export function refusalIn({ status, text }: Told, { url, file, token }: RunningGateway): string | undefined {
  if (status === 200) return undefined
  if (status !== 401) return `${url} answers ${status}: ${errorMessageIn(text) ?? 'is it another program?'}`
  return token === ''
    ? `${url} wants a token, and auth_token in ${file} is empty`
    : `${url} refuses the token in ${file}; was it started with another configuration?`
}

/** What `/admin/status` of a running gateway says; a line that says why where nothing comes back. */
export async function askStatus(gateway: RunningGateway): Promise<GatewayStatus | string> {
  const told = await askGateway(gateway, { path: '/admin/status' })
  if (typeof told === 'string') return told
  const refusal = refusalIn(told, gateway)
  if (refusal !== undefined) return refusal
  const status = jsonIn<GatewayStatus>(told.text)
  return status?.upstreams === undefined
    ? `${gateway.url} answers, but not as AILoad does; is it another program?`
    : (status as GatewayStatus)
}

/** The message of an error in OpenAI's envelope. */
function errorMessageIn(text: string): string | undefined {
  const message = jsonIn<{ error?: { message?: unknown } }>(text)?.error?.message
  return typeof message === 'string' ? message : undefined
}

/** An object of JSON; undefined for anything else. */
export function jsonIn<Shape extends object>(text: string): Partial<Shape> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
