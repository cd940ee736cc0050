import { END, type ByteReader } from '../lib/byte-reader.ts'
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
 * The body as a reader that reads one chunk for each that is taken from it, and none before.
 *
 * It rejects when fewer bytes come than were announced: not every runtime's fetch does.
 */
export function bodyOf({ reader, first, announced, watch }: OpenBody): ByteReader {
  let received = first.byteLength
  let unread = first
  let failure: TransportError | undefined
  let isOver = false
  watch.onFailure = (error) => void (failure = error)

  return {
    async read() {
      if (failure !== undefined) throw failure
      if (isOver) return END
      if (unread.byteLength > 0) {
        const value = unread
        unread = new Uint8Array(0)
        return { done: false, value }
      }
      const { done, value } = await watch.within(reader.read())
      if (!done) {
        received += value.byteLength
        return { done, value }
      }
      isOver = true
      watch.end()
      if (received < announced) throw new TransportError('broken', 'the body is too short')
      return END
    },
    async cancel() {
      isOver = true
      watch.cut()
      reader.cancel().catch(() => {})
    },
  }
}
