import type { HeaderBag } from '../lib/headers.ts'
import { TransportError, type UpstreamRequest, type UpstreamResponse } from '../relay/transport.ts'
import type { AnswerHead } from './node-http-head.ts'
import { createIntake, type Sink, type Source } from './node-transport-body.ts'
import { codingOf, createDecoder } from './node-transport-decode.ts'
import type { Silence } from './node-silence.ts'

/** An answer whose head has come, and who waits for it. */
export interface Answer {
  readonly request: UpstreamRequest
  readonly head: AnswerHead
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
  const { request, source } = answer
  const { status, headers, length } = answer.head
  // Whatever it announces, it has no body, and its end comes at once.
  if (length === 0) return intakeOf(answer, headers, { source, gatherBytes: 1 })
  const gatherBytes = request.gatherBytes(status, headers)
  const coding = codingOf(headers['content-encoding'])
  if (coding === undefined)
    return intakeOf(answer, headers, { source, gatherBytes: length > gatherBytes ? 0 : gatherBytes })
  const decoded = decodedHeaders(headers)
  const sink = createDecoder(coding, source, (from) =>
    intakeOf(answer, decoded, { source: from, gatherBytes }),
  )
  if (sink === undefined) throw new TransportError('undecodable', 'the content encoding is unknown')
  return sink
}

function intakeOf(
  { head, silence, resolve, reject }: Answer,
  headers: HeaderBag,
  { source, gatherBytes }: { source: Source; gatherBytes: number },
): Sink {
  const { status } = head
  const deliver = (body: UpstreamResponse['body']) => resolve({ status, headers, body })
  return createIntake({ gatherBytes, deliver, refuse: reject, source, silence })
}

function decodedHeaders(headers: HeaderBag): HeaderBag {
  const bag: Record<string, string> = Object.assign(Object.create(null), headers)
  delete bag['content-encoding']
  delete bag['content-length']
  return bag
}
