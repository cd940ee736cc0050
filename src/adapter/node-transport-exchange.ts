import type { AbortSignalLike } from '../lib/abort.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../relay/transport.ts'
import type { Alarms } from './node-alarms.ts'
import type { ConnectionUser } from './node-http-connection.ts'
import { receiveAnswer } from './node-transport-answer.ts'
import type { Sink } from './node-transport-body.ts'
import type { Connections } from './node-transport-connections.ts'
import { outgoingRequest, type Target } from './node-transport-request.ts'
import { createSilence } from './node-silence.ts'

/** One request and all that is needed to get it answered. */
export interface ExchangeTask {
  readonly request: UpstreamRequest
  readonly target: Target
  readonly signal: AbortSignalLike
  readonly connections: Connections
  readonly alarms: Alarms
}

/**
 * Sends a request over an idle or a new connection and settles as `Send` says.
 *
 * An idle connection that breaks before any byte of an answer is replaced by a new one, once.
 */
export function exchange({
  request,
  target,
  signal,
  connections,
  alarms,
}: ExchangeTask): Promise<UpstreamResponse> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(aborted())
    const outgoing = outgoingRequest(request, target)
    const { connectTimeoutMs, timeoutMs } = request
    let connection = connections.take(target.origin, connectTimeoutMs)
    let sink: Sink | undefined
    let isOver = false

    /** Ends the exchange; from here on the connection tells it nothing. */
    const finish = (): void => {
      isOver = true
      silence.stop()
      signal.removeEventListener('abort', onAbort)
    }
    const cut = (): void => {
      if (isOver) return
      finish()
      connection.destroy()
    }
    const fail = (error: TransportError): void => {
      cut()
      if (sink) sink.fail(error)
      else reject(error)
    }
    const onAbort = (): void => {
      cut()
      if (sink) sink.abort(aborted())
      else reject(aborted())
    }
    const silence = createSilence({
      alarms,
      limitMs: timeoutMs,
      onSilent: () => fail(new TransportError('timeout', `silence for ${timeoutMs} ms`)),
    })
    const source = { pause: () => connection.pause(), resume: () => connection.resume(), cut }

    const user: ConnectionUser = {
      sending: silence.wait,
      // While the upstream still takes the body, it is not silent.
      taken: silence.heard,
      head(head) {
        try {
          sink = receiveAnswer({ request, head, source, silence, resolve, reject })
        } catch (error) {
          fail(error as TransportError)
        }
      },
      data(chunk) {
        silence.heard()
        sink?.data(chunk)
      },
      end() {
        finish()
        sink?.end()
      },
      lost(error, isStale) {
        if (!isStale) return fail(error)
        connection = connections.open(target.origin, connectTimeoutMs)
        connection.send(outgoing, user)
      },
    }
    signal.addEventListener('abort', onAbort)
    connection.send(outgoing, user)
  })
}

function aborted(): TransportError {
  return new TransportError('aborted', 'the caller has left')
}
