import { errorBody } from '../../errors.ts'
import { toWebResponse, type ToResponse } from '../../http/response.ts'
import { type ByteReader, concatBytes, CR, END, LF } from '../../lib/bytes.ts'
import { createBoundaryTracker } from '../../lib/sse.ts'

/**
 * For runtimes that hide a broken answer: workerd ends it as if it were complete, edge-runtime ends itself.
 * There a connection can't tell that an event was cut, so event streams are handed on in whole events, and
 * a break becomes an error event. Other bodies pass as they are.
 */
export const toWholeEventsResponse: ToResponse = (outgoing, env) => {
  const { body, headers } = outgoing
  const isEvents = /^\s*text\/event-stream/i.test(headers['content-type'] ?? '')
  if (!isEvents || body === null || body instanceof Uint8Array) return toWebResponse(outgoing, env)
  return toWebResponse({ ...outgoing, body: inWholeEvents(body) }, env)
}

/** An event that is longer is handed on in pieces all the same: memory is bounded. */
const MOST_HELD = 1_048_576

/** The same bytes, each event at once when its blank line is there. Pulls, as its source does. */
function inWholeEvents(reader: ByteReader): ByteReader {
  const boundary = createBoundaryTracker()
  let held = new Uint8Array(0)
  let isNamed: boolean | undefined
  let isOver = false

  /** What of the bytes so far is whole. */
  function completeEvents(chunk: Uint8Array): Uint8Array {
    // Comments in front say nothing of the events.
    if (chunk[0] !== COLON) isNamed ??= chunk[0] === LETTER_E
    boundary.push(chunk)
    const all = held.length === 0 ? chunk : concatBytes([held, chunk])
    const end = boundary.atBoundary() || all.length > MOST_HELD ? all.length : endOfLastEvent(all)
    held = all.slice(end)
    return all.subarray(0, end)
  }

  return {
    async read() {
      if (isOver) return END
      try {
        for (;;) {
          const { done, value } = await reader.read()
          isOver = done
          const whole = done ? held : completeEvents(value)
          if (whole.length > 0) return { done: false, value: whole }
          if (done) return END
        }
      } catch {
        isOver = true
        return { done: false, value: breakEvent(isNamed === true) }
      }
    },
    cancel: (reason) => reader.cancel(reason),
  }
}

const LETTER_E = 0x65
const COLON = 0x3a

/** The index behind the last blank line; 0 when there is none. */
function endOfLastEvent(bytes: Uint8Array): number {
  for (let at = bytes.length - 1; at > 0; at--) {
    const last = bytes[at]
    const before = bytes[at - 1]
    if (last !== LF && last !== CR) continue
    if (before === LF || (before === CR && (last === CR || bytes[at - 2] === LF))) return at + 1
  }
  return 0
}

function breakEvent(isNamed: boolean): Uint8Array {
  const body = errorBody('upstream_disconnected', 'The upstream disconnected in the middle of an event.')
  return new TextEncoder().encode(`${isNamed ? 'event: error\n' : ''}data: ${JSON.stringify(body)}\n\n`)
}
