import type { AbortSignalLike } from '../lib/abort.ts'
import type { Dispatcher } from 'undici'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../relay/transport.ts'
import { bagOf, receiveAnswer } from './node-transport-answer.ts'
import type { Sink } from './node-transport-body.ts'
import { codeOf } from './node-transport-connect.ts'
import type { Connection, Connections } from './node-transport-connections.ts'
import { outgoingBody, outgoingHeaders, type Target } from './node-transport-request.ts'
import { createSilence } from './node-transport-silence.ts'

/** One request and all that is needed to get it answered. */
export interface ExchangeTask {
  readonly request: UpstreamRequest
  readonly target: Target
  readonly signal: AbortSignalLike
  readonly connections: Connections
}

/**
 * A connection that dies later than this after the request went out was not dead from the start: the
 * upstream may have worked on the request, and to send it again might be paid for twice.
 */
const staleWithinMs = 1000

/**
 * Sends a request over an idle or a new connection and settles as `Send` says.
 *
 * An idle connection that breaks before any byte of an answer is replaced by a new one, once.
 */
export function exchange({ request, target, signal, connections }: ExchangeTask): Promise<UpstreamResponse> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(aborted())
    let connection = connections.take(target.origin)
    let sink: Sink | undefined
    let over = false
    let takesBody = false

    /** Ends the exchange; from here on nothing that undici calls has an effect. */
    const finish = () => {
      over = true
      silence.stop()
      signal.removeEventListener('abort', onAbort)
      if (takesBody) connection.socket?.off('drain', silence.heard)
    }
    const cut = () => {
      if (over) return
      finish()
      connections.drop(connection)
    }
    const fail = (error: TransportError) => {
      if (over) return
      cut()
      if (sink) sink.fail(error)
      else reject(error)
    }
    const onAbort = () => {
      cut()
      if (sink) sink.abort(aborted())
      else reject(aborted())
    }
    const silence = createSilence(request.timeoutMs, () =>
      fail(new TransportError('timeout', `silence for ${request.timeoutMs} ms`)),
    )

    const begin = () => {
      const body = outgoingBody(request.body)
      const sent = watchStart(connection)
      connection.connectTimeoutMs = request.connectTimeoutMs

      const options = {
        path: target.path,
        method: request.method,
        headers: outgoingHeaders(request.headers, body),
        body: body.content,
      }
      connection.client.dispatch(options as Dispatcher.DispatchOptions, {
        onRequestStart() {
          sent.now()
          silence.wait()
          // While the upstream still takes the body, it is not silent.
          if (!body.inParts) return
          takesBody = true
          connection.socket?.on('drain', silence.heard)
          writeTogether(connection)
        },
        onResponseStart(controller, status, headers) {
          if (over || status < 200) return
          const source = { pause: () => controller.pause(), resume: () => controller.resume(), cut }
          try {
            sink = receiveAnswer({
              request,
              status,
              headers: bagOf(headers),
              source,
              silence,
              resolve,
              reject,
            })
          } catch (error) {
            fail(asTransportError(error))
          }
        },
        onResponseData(_controller, chunk) {
          if (over) return
          silence.heard()
          sink?.data(chunk)
        },
        onResponseEnd() {
          if (over) return
          // A body without a length ends with its connection: an orderly end, or else it is cut off.
          if (connection.errored) return fail(new TransportError('broken', 'the connection was reset'))
          finish()
          connections.release(connection)
          sink?.end()
        },
        onResponseError(_controller, error) {
          if (over) return
          if (!sent.wasStale()) return fail(asTransportError(error))
          connections.drop(connection)
          connection = connections.open(target.origin)
          begin()
        },
      })
    }

    signal.addEventListener('abort', onAbort)
    begin()
  })
}

/**
 * Lets all that is written before the next turn of the event loop go out in one system call: undici writes
 * each part of a body by itself, one microtask after the other, and a tick comes after all microtasks.
 */
function writeTogether({ socket }: Connection): void {
  socket?.cork()
  queueMicrotask(() => process.nextTick(() => socket?.uncork()))
}

/** Remembers in which state a connection was when a request went out over it. */
function watchStart(connection: Connection): { now: () => void; wasStale: () => boolean } {
  let reused = false
  let bytesRead = 0
  let sentAt = 0
  return {
    now() {
      reused = connection.reused
      bytesRead = connection.socket?.bytesRead ?? 0
      sentAt = performance.now()
    },
    wasStale() {
      return (
        reused && connection.socket?.bytesRead === bytesRead && performance.now() - sentAt < staleWithinMs
      )
    },
  }
}

function aborted(): TransportError {
  return new TransportError('aborted', 'the caller has left')
}

function asTransportError(error: unknown): TransportError {
  if (error instanceof TransportError) return error
  const code = codeOf(error)
  if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED') {
    return new TransportError('not-sent', 'the request can not be written as HTTP/1.1')
  }
  return new TransportError('broken', `the connection broke: ${code}`)
}
