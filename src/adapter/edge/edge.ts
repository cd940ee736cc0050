/*
 * adapter/edge: edge functions, and what the Worker shares with them. Nothing is read from a disk and nothing outlives
 * an isolate.
 *
 * edge          the entry: `createEdgeHandler`, which an edge function exports
 * config        a configuration that is not a file, and what is answered while it is wrong
 * whole-events  streams on runtimes that hide a broken answer
 */
import type { Environment } from '../../config/problem.ts'
import { createMemoryStore } from '../../state/memory.ts'
import { consoleLog, createClock, createEdgeGateway, type EdgeGateway } from '../gateway.ts'
import { openConfigText } from './config.ts'
import { toWholeEventsResponse } from './whole-events.ts'

/** What an edge function is made of. */
export interface EdgeHandlerOptions {
  /** The configuration: the object, or its JSON text (comments allowed). Undefined answers 503 and says what to set. */
  readonly config: object | string | undefined
  /** The client token; it counts before `auth_token` of the configuration. */
  readonly token?: string | undefined
  /** Where `${NAME}` in the configuration is looked up; nowhere unless given. */
  readonly env?: Environment
  /** The client's address; the platform's `x-real-ip` unless given. */
  readonly address?: (request: Request) => string
}

/**
 * A fetch handler for edge functions (Vercel and those like it): `export default createEdgeHandler({ … })`.
 *
 * State lives as long as the isolate does and is shared with nobody. Nothing happens before the first
 * request. Never throws: what is wrong with the configuration is what every request is answered with.
 */
export function createEdgeHandler(options: EdgeHandlerOptions): (request: Request) => Promise<Response> {
  let handle: ((request: Request) => Response | Promise<Response>) | undefined
  return async (request) => {
    handle ??= openHandler(options)
    return handle(request)
  }
}

function openHandler(options: EdgeHandlerOptions): (request: Request) => Response | Promise<Response> {
  const { config, token, env = {}, address = realIpOf } = options
  const text = config === undefined || typeof config === 'string' ? config : JSON.stringify(config)
  const opened = openConfigText({
    text,
    token,
    env,
    names: { text: 'config', token: 'token', how: 'createEdgeHandler' },
  })
  if (!opened.ok) return opened.answer
  const clock = createClock()
  const store = createMemoryStore({ random: Math.random })
  const gateway: EdgeGateway = createEdgeGateway(opened.config, {
    clock,
    store,
    log: consoleLog(opened.config.server.mode),
    peerOf: address,
    toResponse: toWholeEventsResponse,
  })
  return (request) => gateway.fetch(request)
}

const realIpOf = (request: Request): string => request.headers.get('x-real-ip') ?? ''
