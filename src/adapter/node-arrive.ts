import type { HttpBindings } from '@hono/node-server'
import type { IncomingMessage } from 'node:http'
import type { Arrival, Arrive, BodyLimits } from '../http/arrival.ts'
import { BODY_SILENCE_MS, bodyTimeout, clientGone, createBodyCollector } from '../http/collect-body.ts'
import type { GatewayError } from '../errors.ts'
import { createAbort } from '../lib/abort.ts'
import type { HeaderBag } from '../lib/headers.ts'
import { lingerBehind } from './node-linger.ts'

/** How a request arrives on Node: straight from its message, without a detour over web streams. */
export const nodeArrive: Arrive = (_request, env): Arrival => {
  const { incoming, outgoing } = env as HttpBindings
  const leaving = createAbort()
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) leaving.abort()
  })
  return {
    headers: incoming.headers as HeaderBag,
    peer: incoming.socket.remoteAddress ?? '',
    target: incoming.url,
    gone: leaving.signal,
    readBody: (limits) => readBody(incoming, limits),
  }
}

function readBody(incoming: IncomingMessage, limits: BodyLimits): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const body = collectorFor(incoming, limits)
    const reading: Reading = { lastByteAt: performance.now(), fail }
    let isOver = false
    watch(reading)

    /** True for the first to end the reading. The listeners go with the message. */
    function over(): boolean {
      if (isOver) return false
      isOver = true
      readings.delete(reading)
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
      reading.lastByteAt = performance.now()
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

/** A body that is being read. */
interface Reading {
  /** On `performance.now`. */
  lastByteAt: number
  readonly fail: (error: GatewayError) => void
}

const readings = new Set<Reading>()
let watcher: NodeJS.Timeout | undefined

/** One timer looks after all bodies, for most are there before a timer of their own would have been made. */
function watch(reading: Reading): void {
  readings.add(reading)
  watcher ??= setInterval(() => {
    const now = performance.now()
    for (const { lastByteAt, fail } of readings) if (now - lastByteAt >= BODY_SILENCE_MS) fail(bodyTimeout())
    if (readings.size > 0) return
    clearInterval(watcher)
    watcher = undefined
  }, BODY_SILENCE_MS / 6).unref()
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
