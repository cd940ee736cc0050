import { TransportError } from '../relay/transport.ts'
import { createAnswerReader } from './node-http-answers.ts'
import type { AnswerHead, ReadHead } from './node-http-head.ts'
import type { Connect, Origin } from './node-transport-connect.ts'

/** Who uses a connection; told of one answer until `end` or `lost`, or until it lets the connection go. */
export interface ConnectionUser {
  /** The connection is there, and the request goes out. */
  sending(): void
  /** The upstream took some of a large request. */
  taken(): void
  head(head: AnswerHead): void
  data(chunk: Uint8Array): void
  end(): void
  /** @param isStale the connection was dead before the request reached the upstream */
  lost(error: TransportError, isStale: boolean): void
}

/** A request in the form in which it goes out. */
export interface OutgoingRequest {
  readonly method: string
  /** Latin-1: the head, and a small body with it. */
  readonly text: string
  /** What follows, in order. */
  readonly pieces: readonly Uint8Array[]
}

/** One connection to one origin, for one request at a time. */
export interface Connection {
  readonly origin: Origin
  send(request: OutgoingRequest, user: ConnectionUser): void
  pause(): void
  resume(): void
  /** Closes it at once, whatever goes on over it; nobody is told. */
  destroy(): void
}

/** What a connection is made with. */
export interface ConnectionOptions {
  readonly origin: Origin
  readonly connect: Connect
  readonly connectTimeoutMs: number
  readonly readHead: ReadHead
  /** It waits for the next request, at most so long as the upstream's `keep-alive` header says. */
  readonly onIdle: (connection: Connection, keepAlive: string | undefined) => void
  /** It is of no more use. */
  readonly onClosed: (connection: Connection) => void
}

/**
 * A connection that dies later than this after the request went out was not dead from the start: the
 * upstream may have worked on the request, and to send it again might be paid for twice.
 */
const STALE_WITHIN_MS = 1_000

/** Starts to connect; a request sent meanwhile goes out when the connection is there. */
export function openConnection(options: ConnectionOptions): Connection {
  const { origin, connect, connectTimeoutMs, readHead, onIdle, onClosed } = options
  let user: ConnectionUser | undefined
  let waiting: OutgoingRequest | undefined
  /** Pieces of the present request that are still to be written. */
  let unsent: readonly Uint8Array[] = []
  let isConnected = false
  let hasServed = false
  let hasHeard = false
  let isPaused = false
  let sentAt = 0
  let keepAlive: string | undefined

  const answers = createAnswerReader(readHead, {
    head(head) {
      keepAlive = head.headers['keep-alive']
      user?.head(head)
    },
    data: (chunk) => user?.data(chunk),
    end(isPersistent) {
      const served = user
      if (served === undefined) return
      user = undefined
      hasServed = true
      // An answer that overtakes its request leaves a connection in the middle of it.
      const isFree = isPersistent && unsent.length === 0 && socket.writableLength === 0
      if (!isFree) close()
      else {
        connection.resume()
        onIdle(connection, keepAlive)
      }
      served.end()
    },
  })

  const socket = connect(origin, {
    timeoutMs: connectTimeoutMs,
    connected() {
      isConnected = true
      const request = waiting
      waiting = undefined
      if (request !== undefined) write(request)
    },
    received(bytes) {
      hasHeard = true
      if (!answers.push(bytes)) lose(new TransportError('broken', 'the answer is no HTTP/1'))
    },
    ended() {
      if (!answers.finish()) lose(new TransportError('broken', 'the connection was closed'))
    },
    failed: lose,
  })
  socket.on('drain', () => {
    user?.taken()
    writeRest()
  })

  function close(): void {
    socket.destroy()
    onClosed(connection)
  }

  function lose(error: TransportError): void {
    const told = user
    user = undefined
    close()
    told?.lost(error, hasServed && !hasHeard && performance.now() - sentAt < STALE_WITHIN_MS)
  }

  function write({ method, text, pieces }: OutgoingRequest): void {
    hasHeard = false
    sentAt = performance.now()
    answers.expect(method)
    user?.sending()
    if (pieces.length === 0) return void socket.write(text, 'latin1')
    unsent = pieces
    // One system call for what is there.
    socket.cork()
    socket.write(text, 'latin1')
    writeRest()
    socket.uncork()
  }

  /** As much as the socket takes; large bodies are not copied, and their progress shows. */
  function writeRest(): void {
    let at = 0
    let isFull = false
    for (; at < unsent.length && !isFull; at++) isFull = !socket.write(unsent[at] ?? EMPTY)
    unsent = unsent.slice(at)
  }

  const connection: Connection = {
    origin,
    send(request, by) {
      user = by
      if (isConnected) write(request)
      else waiting = request
    },
    pause() {
      isPaused = true
      socket.pause()
    },
    resume() {
      if (!isPaused) return
      isPaused = false
      socket.resume()
    },
    destroy() {
      user = undefined
      close()
    },
  }
  return connection
}

const EMPTY = new Uint8Array(0)
