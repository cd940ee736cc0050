/*
 * adapter/edge: edge functions, and what the Worker shares with them. Nothing is read from a disk and nothing outlives
 * an isolate.
 *
 * edge          the entry: `createEdgeHandler`, which an edge function exports
 * config-text   a configuration that is not a file, served or told what is wrong with it
 * whole-events  streams on runtimes that hide a broken answer
 */
import type { Environment } from '../../config/problem.ts'
import { createMemoryStore } from '../../state/memory.ts'
import { serveConfigText } from './config-text.ts'

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

const NAMES = { text: 'config', token: 'token', how: 'createEdgeHandler' }
const realIpOf = (request: Request): string => request.headers.get('x-real-ip') ?? ''

/**
 * A fetch handler for edge functions (Vercel and those like it): `export default createEdgeHandler({ … })`.
 *
 * State lives as long as the isolate does and is shared with nobody. Nothing happens before the first
 * request. Never throws: what is wrong with the configuration is what every request is answered with.
 */
export function createEdgeHandler(options: EdgeHandlerOptions): (request: Request) => Promise<Response> {
  const { config, token, env = {}, address = realIpOf } = options
  let handle: ReturnType<typeof serveConfigText> | undefined
  return async (request) => {
    handle ??= serveConfigText(
      { text: typeof config === 'object' ? JSON.stringify(config) : config, token, env, names: NAMES },
      () => ({ store: createMemoryStore({ random: Math.random }), peerOf: address }),
    )
    return handle(request)
  }
}
