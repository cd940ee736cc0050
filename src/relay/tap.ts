import type { AbortSignalLike } from '../lib/abort.ts'
import { TransportError } from './transport.ts'

/** How a streamed body ended. */
export type TapEnd =
  | { readonly kind: 'ok' }
  | { readonly kind: 'aborted' }
  | { readonly kind: 'broken'; readonly code: 'upstream_disconnected' | 'upstream_timeout' }

/** What a tap looks at while the bytes pass. */
export interface Watch {
  /** Sees every chunk, and changes none. */
  push(chunk: Uint8Array): void
  /** Whether what passed so far ends between two events. */
  atBoundary(): boolean
  /** Asked at a clean end: whether the stream stopped before it was done. */
  isCutShort(): boolean
  /** The event that tells a client of a break, as bytes. */
  errorEvent(code: 'upstream_disconnected' | 'upstream_timeout'): Uint8Array
}

/** A body to be passed on. */
export interface TapSource {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>
  /** What was read before the commit point. */
  readonly head: readonly Uint8Array[]
  /** Absent where nobody asks what passes: every break then resets the connection. */
  readonly watch?: Watch
  /** Aborted when the client leaves: that ends the body, also when nobody reads it any more. */
  readonly gone: AbortSignalLike
  /** Called once, when the body has ended in any way. */
  readonly onEnd: (end: TapEnd) => void
}

/**
 * The same bytes, chunk by chunk, and one call at the end.
 *
 * Pull-based with no buffer of its own: a client that does not read stops the upstream. A break between two
 * events of an event stream adds one error event and ends cleanly; any other break resets the connection, so
 * that half an event is never taken for a whole one. Never adds a `[DONE]`.
 */
export function createTap({ reader, head, watch, gone, onEnd }: TapSource): ReadableStream<Uint8Array> {
  const waiting = [...head]
  let hasEnded = false

  function end(how: TapEnd): void {
    if (hasEnded) return
    hasEnded = true
    gone.removeEventListener('abort', onGone)
    onEnd(how)
  }
  const onGone = (): void => end({ kind: 'aborted' })
  gone.addEventListener('abort', onGone)

  function breakOff(
    controller: ReadableStreamDefaultController<Uint8Array>,
    code: 'upstream_disconnected' | 'upstream_timeout',
  ): void {
    end({ kind: 'broken', code })
    if (watch?.atBoundary() !== true)
      return controller.error(new TransportError('broken', 'the upstream broke off'))
    controller.enqueue(watch.errorEvent(code))
    controller.close()
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const first = waiting.shift()
        if (first !== undefined) {
          watch?.push(first)
          return controller.enqueue(first)
        }
        try {
          const { done, value } = await reader.read()
          if (!done) {
            watch?.push(value)
            return controller.enqueue(value)
          }
        } catch (error) {
          if (gone.aborted || isAbort(error)) {
            end({ kind: 'aborted' })
            return controller.error(new TransportError('aborted', 'the client left'))
          }
          return breakOff(controller, isTimeout(error) ? 'upstream_timeout' : 'upstream_disconnected')
        }
        if (watch?.isCutShort() === true) return breakOff(controller, 'upstream_disconnected')
        end({ kind: 'ok' })
        return controller.close()
      },
      cancel(reason) {
        end({ kind: 'aborted' })
        return reader.cancel(reason).catch(() => {})
      },
    },
    { highWaterMark: 0 },
  )
}

const isAbort = (error: unknown): boolean => error instanceof TransportError && error.failure === 'aborted'
const isTimeout = (error: unknown): boolean => error instanceof TransportError && error.failure === 'timeout'
