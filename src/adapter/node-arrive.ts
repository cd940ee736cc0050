import type { HttpBindings } from '@hono/node-server'
import type { IncomingMessage } from 'node:http'
import type { Arrival, Arrive, BodyLimits } from '../http/arrival.ts'
import { BODY_SILENCE_MS, bodyTimeout, clientGone, createBodyCollector } from '../http/collect-body.ts'
import type { GatewayError } from '../errors.ts'
import { createAbort } from '../lib/abort.ts'
import type { HeaderBag } from '../lib/headers.ts'
import type { Alarms } from './node-alarms.ts'
import { lingerBehind } from './node-linger.ts'
import { createSilence } from './node-silence.ts'

/** How a request arrives on Node: straight from its message, without a detour over web streams. */
export function createNodeArrive(alarms: Alarms): Arrive {
  return (_request, env): Arrival => {
    const { incoming, outgoing } = env as HttpBindings
    const leaving = createAbort()
    outgoing.on('close', () => {
      if (!outgoing.writableFinished) leaving.abort()
    })
    return {
      headers: incoming.headers as HeaderBag,
      peer: incoming.socket.remoteAddress ?? '',
      target: incoming.url,
      gone: leaving.signal,
      readBody: (limits) => readBody(incoming, limits, alarms),
    }
  }
}

function readBody(incoming: IncomingMessage, limits: BodyLimits, alarms: Alarms): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const body = collectorFor(incoming, limits)
    let isOver = false
    const silence = createSilence({
      alarms,
      limitMs: BODY_SILENCE_MS,
      onSilent: () => fail(bodyTimeout()),
    })
    silence.wait()

    /** True for the first to end the reading. The listeners go with the message. */
    function over(): boolean {
      if (isOver) return false
      isOver = true
      silence.stop()
      return true
    }
    function fail(error: GatewayError): void {
      if (!over()) return
      body.drop()
      // What still comes is not kept; the server closes the connection behind the answer.
      lingerBehind(incoming)
      incoming.resume()
      reject(error)
    }
    function onData(chunk: Uint8Array): void {
      if (isOver) return
      silence.heard()
      try {
        body.add(chunk)
      } catch (error) {
        fail(error as GatewayError)
      }
    }
    function onEnd(): void {
      if (over()) resolve(body.whole())
    }
    /** The end of every message; only before its body is complete the client has left. */
    function onClose(): void {
      if (!isOver) fail(clientGone())
    }
    // The listener stays: a client may reset its connection later, and an error without one ends the process.
    incoming.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  })
}

/** @throws GatewayError for a declared length above the limit */
function collectorFor(incoming: IncomingMessage, limits: BodyLimits): ReturnType<typeof createBodyCollector> {
  const declared = incoming.headers['content-length']
  try {
    return createBodyCollector(limits, declared === undefined ? undefined : Number(declared))
  } catch (error) {
    lingerBehind(incoming)
    throw error
  }
}
