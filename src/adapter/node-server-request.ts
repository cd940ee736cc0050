import type { Socket } from 'node:net'
import type { GatewayError } from '../errors.ts'
import type { HeaderBag } from '../lib/headers.ts'
import type { RequestHead } from './node-http-request-head.ts'

/** Takes the body of a request: any number of chunks, then one of the other two. */
export interface BodySink {
  /** Its own to keep. */
  chunk(bytes: Uint8Array): void
  end(): void
  broken(error: GatewayError): void
}

/**
 * A request that came in: what `@hono/node-server` asks of Node's `IncomingMessage`, but for its body, which `takeBody`
 * gives (`Request.json` and the like do not). It and its answer are classes since one of each is made for every request,
 * and as closures their dozen methods would be made each time too.
 */
export class ServerRequest {
  readonly head: RequestHead
  readonly socket: Socket
  #sink: BodySink | undefined

  constructor(head: RequestHead, socket: Socket) {
    this.head = head
    this.socket = socket
  }

  get method(): string {
    return this.head.method
  }

  /** The request target. */
  get url(): string {
    return this.head.target
  }

  get headers(): HeaderBag {
    return this.head.headers
  }

  /** Names and values in turn. */
  get rawHeaders(): string[] {
    return Object.entries(this.headers).flat()
  }

  /**
   * Gives the body to `sink` as it comes. Called before the handler of the request returns, or nobody gets the body.
   * A client that waits to be asked for it is asked (RFC 9110 §10.1.1).
   */
  takeBody(sink: BodySink): void {
    this.#sink = sink
    const { isHttp10, length, headers } = this.head
    const isAwaited = length !== 0 && !isHttp10 && headers['expect']?.toLowerCase() === '100-continue'
    if (isAwaited) this.socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1')
  }

  /** Some of the body has come. */
  push(chunk: Uint8Array): void {
    this.#sink?.chunk(chunk)
  }

  /** All of the body has come. */
  end(): void {
    this.#release()?.end()
  }

  /** The body can't be read any further. */
  fail(error: GatewayError): void {
    this.#release()?.broken(error)
  }

  #release(): BodySink | undefined {
    const sink = this.#sink
    this.#sink = undefined
    return sink
  }
}
