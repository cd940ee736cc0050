import { once } from 'node:events'
import http from 'node:http'
import { isIPv6 } from 'node:net'
import { text } from 'node:stream/consumers'
import { readAccess } from '../adapter/node/open-config.ts'
import type { ServerConfig } from '../config/config.ts'
import { problemLine, recordOf } from '../config/problem.ts'
import { systemCodeOf } from '../errors.ts'
import { parsedJson } from '../lib/json/parse.ts'
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
export class GatewayFailure extends Error {
  /** Whether it answered, and refused. */
  readonly isRefusal: boolean

  constructor(message: string, isRefusal = false) {
    super(message)
    this.isRefusal = isRefusal
  }
}

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
  const wanted = given.host ?? server.host
  const host = loopbackOf.get(wanted) ?? wanted
  const port = given.port ?? server.port
  try {
    return await task({ url: originOf({ host, port }), host, port, token, file })
  } catch (error) {
    if (error instanceof GatewayFailure) return printFailure(error.message)
    throw error
  }
}

/** Who listens on all addresses of the machine, by a host of `server.host`, is asked on the loopback one. */
const loopbackOf = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
])
export const isEveryAddress = (host: string): boolean => loopbackOf.has(host)

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

/** Asks a running gateway, with its token. @throws where nothing comes back */
export async function askGateway(gateway: RunningGateway, question: Question): Promise<Told> {
  const { path, body, timeoutMs = 10_000 } = question
  const { url, file, host, port, token } = gateway
  const sent = body && JSON.stringify(body)
  const headers = {
    ...(token !== '' && { authorization: `Bearer ${token}` }),
    ...(sent !== undefined && { 'content-type': 'application/json' }),
  }
  const method = sent === undefined ? 'GET' : 'POST'
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    // An agent of its own: the common one may go through a proxy of the environment.
    const call = http.request({ host, port, path, method, headers, signal, agent: false }).end(sent)
    // What breaks later is heard of by whoever reads the answer.
    call.on('error', () => {})
    const [answer] = (await once(call, 'response')) as [http.IncomingMessage]
    return { status: answer.statusCode ?? 0, text: await text(answer) }
  } catch (error) {
    const code = systemCodeOf(error) ?? 'unknown error'
    const reasons: Readonly<Record<string, string>> = {
      ECONNREFUSED: `nothing listens on ${url}; is the gateway of ${file} started? One on another port is asked with --port`,
      ABORT_ERR: `${url} gives no answer within ${timeoutMs / 1_000} s`,
    }
    throw new GatewayFailure(reasons[code] ?? `${url} cannot be asked (${code})`)
  }
}

/** The text of an answer that is the one that was asked for. @throws for any other */
export function acceptedBy({ url, file, token }: RunningGateway, told: Told): string {
  if (told.status === 200) return told.text
  const reasons: Readonly<Record<number, string>> = {
    401:
      token === ''
        ? `${url} wants a token, and auth_token in ${file} is empty`
        : `${url} refuses the token in ${file}; was it started with another configuration?`,
  }
  const words = errorMessageIn(told.text) ?? 'is it another program?'
  throw new GatewayFailure(reasons[told.status] ?? `${url} answers ${told.status}: ${words}`, true)
}

/** What `/admin/status` of a running gateway says. @throws where it is not that which comes back */
export async function askStatus(gateway: RunningGateway): Promise<GatewayStatus> {
  const text = acceptedBy(gateway, await askGateway(gateway, { path: '/admin/status' }))
  const status = jsonIn<GatewayStatus>(text)
  if (status.upstreams !== undefined) return status as GatewayStatus
  throw new GatewayFailure(`${gateway.url} answers, but not as AILoad does; is it another program?`)
}

/** The message of an error in OpenAI's envelope. */
function errorMessageIn(text: string): string | undefined {
  const message = jsonIn<{ error?: { message?: unknown } }>(text).error?.message
  return typeof message === 'string' ? message : undefined
}

/** An object of JSON, as far as it is one. */
export const jsonIn = <Shape extends object>(text: string): Partial<Shape> =>
  recordOf(parsedJson(text)) as Partial<Shape>
