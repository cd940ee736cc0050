import type { Watch } from './fetch-watch.ts'
import { TransportError } from './transport.ts'

/** A body of which the first bytes may have been read. */
export interface OpenBody {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>
  /** Read already, and the first to be handed on; may be empty. */
  readonly first: Uint8Array
  /** The content-length; NaN where none counts. */
  readonly announced: number
  readonly watch: Watch
}

/**
 * The body as a stream that reads one chunk for each that is taken from it, and none before.
 *
 * It errors when fewer bytes come than were announced: not every runtime's fetch does.
 */
export function streamOf({ reader, first, announced, watch }: OpenBody): ReadableStream<Uint8Array> {
  let received = first.byteLength
  let unread = first

  const next = async (to: ReadableStreamDefaultController<Uint8Array>) => {
    const { done, value } = await watch.within(reader.read())
    if (!done) {
      received += value.byteLength
      to.enqueue(value)
      return
    }
    watch.end()
    if (received < announced) throw new TransportError('broken', 'the body is too short')
    to.close()
  }

  return new ReadableStream<Uint8Array>(
    {
      start(to) {
        watch.onFailure = (error) => to.error(error)
      },
      pull(to) {
        if (unread.byteLength === 0) return next(to)
        to.enqueue(unread)
        unread = new Uint8Array(0)
      },
      cancel() {
        watch.cut()
        reader.cancel().catch(() => {})
      },
    },
    { highWaterMark: 0 },
  )
}
