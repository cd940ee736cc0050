import type { GatewayError } from '../errors.ts'
import type { Arrival, Arrive, BodyLimits } from '../http/arrival.ts'
import { BODY_SILENCE_MS, bodyTimeout, createBodyCollector } from '../http/collect-body.ts'
import type { Alarms } from './node-alarms.ts'
import type { Exchange } from './node-server-connection.ts'
import type { ServerRequest } from './node-server-request.ts'
import { createSilence } from './node-silence.ts'

/** How a request arrives on Node: straight from its connection, without a detour over web streams. */
export function createNodeArrive(alarms: Alarms): Arrive {
  return (_request, env): Arrival => {
    const { incoming, outgoing } = env as Exchange
    return {
      headers: incoming.headers,
      peer: incoming.socket.remoteAddress ?? '',
      target: incoming.url,
      gone: outgoing.gone,
      readBody: (limits) => readBody(incoming, limits, alarms),
    }
  }
}

function readBody(incoming: ServerRequest, limits: BodyLimits, alarms: Alarms): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const declared = incoming.headers['content-length']
    const body = createBodyCollector(limits, declared === undefined ? undefined : Number(declared))
    let isOver = false
    const silence = createSilence({
      alarms,
      limitMs: BODY_SILENCE_MS,
      onSilent: () => fail(bodyTimeout()),
    })
    silence.wait()

    /** What still comes is not kept; the server closes the connection behind the answer. */
    function fail(error: GatewayError): void {
      if (isOver) return
      isOver = true
      silence.stop()
      body.drop()
      reject(error)
    }

    incoming.takeBody({
      chunk(bytes) {
        if (isOver) return
        silence.heard()
        try {
          body.add(bytes)
        } catch (error) {
          fail(error as GatewayError)
        }
      },
      end() {
        if (isOver) return
        isOver = true
        silence.stop()
        resolve(body.whole())
      },
      broken: fail,
    })
  })
}
