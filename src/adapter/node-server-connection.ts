import type { Socket } from 'node:net'
import { errorBody, GatewayError } from '../errors.ts'
import { clientGone } from '../http/collect-body.ts'
import { answerHeadText } from './node-http-answer-text.ts'
import type { ReadRequestHead } from './node-http-request-head.ts'
import { createRequestReader } from './node-http-requests.ts'
import { createPatience, headTimeout } from './node-patience.ts'
import { ServerAnswer, type Wire } from './node-server-answer.ts'
import { ServerRequest } from './node-server-request.ts'

/** A client's connection. */
export interface ServerConnection {
  /** Closes it where its client has kept it waiting for too long. Called about once a second. */
  look(): void
  /** No further request is taken: it ends behind the answer to the present one, at once where there is none. */
  retire(): void
  /** Cuts it, whatever goes on over it. */
  destroy(): void
}

/** A request and its answer. */
export interface Exchange {
  readonly incoming: ServerRequest
  readonly outgoing: ServerAnswer
}

/** Who takes the requests of a connection. */
export interface ConnectionUser {
  /** A request has begun; called again only after `over`. */
  request(exchange: Exchange): void
  /** The answer has left, or its client has. */
  over(): void
  closed(): void
}

/** A connection that was accepted, and what is done with it. */
export interface ConnectionTask {
  /** Half-open: its other side may end first. */
  readonly socket: Socket
  readonly readHead: ReadRequestHead
  readonly user: ConnectionUser
}

/** What a client may send ahead of its turn before it is no longer read; until it is, nobody sees it leave. */
const MOST_AHEAD_BYTES = 1_048_576

/** Takes the requests of a connection one by one; one that is sent ahead waits until the answers before it have left. */
export function serveConnection({ socket, readHead, user }: ConnectionTask): ServerConnection {
  let exchange: Exchange | undefined
  /** The bytes of `exchange`'s request have all come. */
  let isWhole = false
  /** The answer has left, with this word on what follows it. */
  let goesOn: boolean | undefined
  let isPersistent = true
  /** What still comes is thrown away. */
  let isDeaf = false
  let isRetired = false
  /** Bytes whose turn has not come. */
  let ahead: Buffer[] = []
  let aheadBytes = 0
  let isTaking = false
  const patience = createPatience()

  const wire: Wire = {
    socket,
    // The rest of a request that is not read to its end could not be told from the next one.
    mayGoOn: () => isPersistent && isWhole && !isRetired,
    answered(isKept) {
      exchange = undefined
      goesOn = isKept
      user.over()
      if (isTaking) return
      goOn()
      takeAhead()
    },
  }

  const requests = createRequestReader(readHead, {
    head(head) {
      isPersistent = head.isPersistent
      isWhole = head.length === 0
      patience.waitFor('exchange')
      exchange = { incoming: new ServerRequest(head, socket), outgoing: new ServerAnswer(head, wire) }
      user.request(exchange)
    },
    data: (chunk) => exchange?.incoming.push(chunk),
    end() {
      isWhole = true
      exchange?.incoming.end()
    },
  })

  /** Takes what is there as far as it may be taken: an app that answers at once makes this a loop. */
  function takeAhead(): void {
    if (isTaking) return
    isTaking = true
    for (let bytes = upNext(); bytes !== undefined; bytes = upNext()) {
      const rest = bytes.subarray(take(bytes))
      ahead = rest.length > 0 ? [rest] : []
      aheadBytes = rest.length
      goOn()
    }
    isTaking = false
  }

  /** All that is there; undefined where a request is being answered. */
  function upNext(): Buffer | undefined {
    if (isDeaf || (exchange !== undefined && isWhole)) return undefined
    return ahead.length > 1 ? Buffer.concat(ahead) : ahead[0]
  }

  /** What follows an answer; an app may give one before its request has been taken to its end. */
  function goOn(): void {
    if (goesOn === undefined) return
    const isNext = goesOn && !isRetired
    goesOn = undefined
    if (!isNext) return end()
    isWhole = false
    patience.waitFor('idle')
    if (socket.isPaused()) socket.resume()
  }

  /** Up to the end of one request; returns where that is. */
  function take(bytes: Buffer): number {
    try {
      const at = requests.push(bytes, 0)
      if (requests.isAmidHead && patience.waitsFor !== 'head') patience.waitFor('head')
      return at
    } catch (error) {
      refuse(error)
      return bytes.length
    }
  }

  /** What came is no request, or no longer one. */
  function refuse(error: unknown): void {
    if (!(error instanceof GatewayError)) throw error
    isPersistent = false
    isDeaf = true
    // The body of a request that is being answered: its handler has the word.
    if (exchange !== undefined) return exchange.incoming.fail(error)
    const body = JSON.stringify(errorBody(error.code, error.message))
    const head = answerHeadText(
      error.status,
      { 'content-type': 'application/json' },
      { framing: { bytes: body.length }, isKept: false },
    )
    socket.write(head + body, 'latin1')
    end()
  }

  /**
   * The last answer arrives although the client may still be sending: closed at once, the system would answer the
   * unread bytes with a reset that overtakes it (RFC 9112 §9.6).
   */
  function end(): void {
    patience.waitFor('ending')
    isDeaf = true
    ahead = []
    socket.end()
    if (socket.isPaused()) socket.resume()
  }

  socket.on('data', (bytes) => {
    if (isDeaf) return patience.heard()
    ahead.push(bytes)
    aheadBytes += bytes.length
    takeAhead()
    if (aheadBytes > MOST_AHEAD_BYTES) socket.pause()
  })
  socket.on('drain', () => exchange?.outgoing.drained())
  // Whoever closes its side has left: a connection that is closed looks the same.
  socket.on('end', () => (exchange === undefined ? socket.end() : socket.destroy()))
  socket.on('error', () => {})
  socket.on('close', () => {
    const left = exchange
    exchange = undefined
    left?.incoming.fail(clientGone())
    left?.outgoing.lost()
    if (left !== undefined) user.over()
    user.closed()
  })

  return {
    look() {
      if (!patience.isOver()) return
      if (patience.waitsFor === 'head') refuse(headTimeout())
      else socket.destroy()
    },
    retire() {
      isRetired = true
      // Half a request is let in, for as long as others keep the server: it gets the last answer of its connection.
      if (patience.waitsFor === 'idle' || patience.waitsFor === 'start') end()
    },
    destroy: () => socket.destroy(),
  }
}
