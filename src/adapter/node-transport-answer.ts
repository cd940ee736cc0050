import type { IncomingHttpHeaders } from 'node:http'
import type { HeaderBag } from '../lib/headers.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../relay/transport.ts'
import { createIntake, type Sink, type Source } from './node-transport-body.ts'
import { codingOf, createDecoder } from './node-transport-decode.ts'
import type { Silence } from './node-transport-silence.ts'

/** An answer whose headers have come, and who waits for it. */
export interface Answer {
  readonly request: UpstreamRequest
  readonly status: number
  readonly headers: HeaderBag
  readonly source: Source
  readonly silence: Silence
  readonly resolve: (response: UpstreamResponse) => void
  readonly reject: (error: TransportError) => void
}

/**
 * The sink for the body of an answer, which resolves the answer when its body is there or worth streaming.
 *
 * @throws TransportError where the body can't be decoded
 */
export function receiveAnswer(answer: Answer): Sink {
  const { request, status, source } = answer
  if (isBodiless(request.method, status)) {
    const sink = intakeOf(answer, { source, gatherBytes: 1 })
    sink.end()
    return sink
  }
  const gatherBytes = request.gatherBytes(status, answer.headers)
  const coding = codingOf(answer.headers['content-encoding'])
  if (coding === undefined) {
    const announced = Number(answer.headers['content-length'])
    return intakeOf(answer, { source, gatherBytes: announced > gatherBytes ? 0 : gatherBytes })
  }
  const decoded = { ...answer, headers: decodedHeaders(answer.headers) }
  const sink = createDecoder(coding, source, (from) => intakeOf(decoded, { source: from, gatherBytes }))
  if (sink === undefined) throw new TransportError('undecodable', 'the content encoding is unknown')
  return sink
}

/** RFC 9110 §6.4.1: these have no body, whatever their headers announce. */
function isBodiless(method: string, status: number): boolean {
  return status === 204 || status === 304 || method === 'HEAD'
}

function intakeOf(answer: Answer, { source, gatherBytes }: { source: Source; gatherBytes: number }): Sink {
  const { status, headers, silence, resolve, reject } = answer
  const deliver = (body: UpstreamResponse['body']) => resolve({ status, headers, body })
  return createIntake({ gatherBytes, deliver, refuse: reject, source, silence })
}

/** What undici parsed, as a bag. */
export function bagOf(headers: IncomingHttpHeaders): HeaderBag {
  const bag: Record<string, string> = Object.create(null)
  for (const name of Object.keys(headers)) {
    const value = headers[name]
    if (value !== undefined) bag[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return bag
}

function decodedHeaders(headers: HeaderBag): HeaderBag {
  const bag: Record<string, string> = Object.assign(Object.create(null), headers)
  delete bag['content-encoding']
  delete bag['content-length']
  return bag
}
