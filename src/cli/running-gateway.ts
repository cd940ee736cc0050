import http from 'node:http'
import { isIPv6 } from 'node:net'
import { readAccess } from '../adapter/node/config-file.ts'
import type { ServerConfig } from '../config/config.ts'
import { problemLine } from '../config/problem.ts'
import { systemCodeOf } from '../errors.ts'
import type { GatewayStatus } from '../telemetry/status.ts'
import { searchOf, type Command } from './arguments.ts'
import { printFailure } from './process.ts'

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

/** Why a running gateway did not do what it was asked to, in a line. */
class GatewayFailure extends Error {}

/**
 * Does a task with the gateway that a configuration describes; gives the exit code of the task, or 1 with the reason
 * printed when the configuration can't be read or the gateway fails the task (`askGateway`, `askStatus`, `acceptedBy`).
 */
export async function withGateway(
  given: Pick<Command, 'config' | 'port' | 'host'>,
  task: (gateway: RunningGateway) => Promise<number>,
): Promise<number> {
  const { place: file, loaded } = readAccess(searchOf(given.config))
  if (!loaded.ok) return printFailure(...loaded.problems.map(problemLine))
  const {
    server,
    authTokens: [token = ''],
  } = loaded.config
  const host = reachableHost(given.host ?? server.host)
  const port = given.port ?? server.port
  try {
    return await task({ url: originOf({ host, port }), host, port, token, file })
  } catch (error) {
    if (error instanceof GatewayFailure) return printFailure(error.message)
    throw error
  }
}

/** Somebody who listens on all addresses is asked on the loopback one. */
function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}

/** As a URL writes it. */
export const originOf = ({ host, port }: Pick<ServerConfig, 'host' | 'port'>): string =>
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

/** Asks a running gateway, with its token. @throws where nothing comes back */
export async function askGateway(gateway: RunningGateway, question: Question): Promise<Told> {
  const { timeoutMs = 10_000 } = question
  try {
    return await exchange(gateway, { ...question, timeoutMs })
  } catch (error) {
    const code = systemCodeOf(error) ?? 'unknown error'
    const { url, file } = gateway
    if (code === 'ECONNREFUSED')
      throw new GatewayFailure(
        `nothing listens on ${url}; is the gateway of ${file} started, and with no other port?`,
      )
    if (code === 'ABORT_ERR') throw new GatewayFailure(`${url} gives no answer within ${timeoutMs / 1_000} s`)
    throw new GatewayFailure(`${url} cannot be asked (${code})`)
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

/** The text of an answer that is the one that was asked for. @throws for any other */
export function acceptedBy({ url, file, token }: RunningGateway, { status, text }: Told): string {
  if (status === 200) return text
  if (status !== 401)
    throw new GatewayFailure(`${url} answers ${status}: ${errorMessageIn(text) ?? 'is it another program?'}`)
  throw new GatewayFailure(
    token === ''
      ? `${url} wants a token, and auth_token in ${file} is empty`
      : `${url} refuses the token in ${file}; was it started with another configuration?`,
  )
}

/** What `/admin/status` of a running gateway says. @throws where it is not that which comes back */
export async function askStatus(gateway: RunningGateway): Promise<GatewayStatus> {
  const text = acceptedBy(gateway, await askGateway(gateway, { path: '/admin/status' }))
  const status = jsonIn<GatewayStatus>(text)
  if (status?.upstreams !== undefined) return status as GatewayStatus
  throw new GatewayFailure(`${gateway.url} answers, but not as AILoad does; is it another program?`)
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
