import type { AbortSignalLike } from '../lib/abort.ts'
import type { Clock } from './clock.ts'
import { fetchFailure } from './fetch-failure.ts'
import { TransportError } from './transport.ts'

/** Ends one fetch when its caller leaves or its upstream is silent, whether or not the runtime obeys. */
export interface Watch {
  /** For fetch: aborted when the request has failed or nobody wants it any longer. */
  readonly signal: AbortSignal
  /**
   * Waits for the upstream: the result of `work`, or its failure, the caller's abort or a silence, whichever
   * comes first. One at a time.
   *
   * @throws TransportError
   */
  within<T>(work: Promise<T>): Promise<T>
  /** Called when the request fails while nobody waits. */
  onFailure: (error: TransportError) => void
  /** All is read. */
  end(): void
  /** Nobody wants the rest. */
  cut(): void
}

export interface WatchOptions {
  readonly timeoutMs: number
  /** The caller's. */
  readonly signal: AbortSignalLike
  readonly after: Clock['after']
}

export function createWatch({ timeoutMs, signal, after }: WatchOptions): Watch {
  const controller = new AbortController()
  let failure: TransportError | undefined
  let refuse: ((error: TransportError) => void) | undefined

  const end = () => signal.removeEventListener('abort', onAbort)
  const cut = () => {
    end()
    controller.abort()
  }
  const fail = (error: TransportError) => {
    failure = error
    cut()
    if (refuse) refuse(error)
    else watch.onFailure(error)
  }
  const onAbort = () => fail(new TransportError('aborted', 'the caller has left'))

  const within = async <T>(work: Promise<T>): Promise<T> => {
    const failed = new Promise<never>((_resolve, reject) => {
      refuse = reject
      if (failure) reject(failure)
    })
    const forgetTimer = after(timeoutMs, () =>
      fail(new TransportError('timeout', `silence for ${timeoutMs} ms`)),
    )
    try {
      // The race also listens to the loser, whose failure would go unhandled otherwise.
      return await Promise.race([work, failed])
    } catch (error) {
      failure ??= fetchFailure(error)
      cut()
      throw failure
    } finally {
      refuse = undefined
      forgetTimer()
    }
  }

  const watch: Watch = { signal: controller.signal, within, onFailure: () => {}, end, cut }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort)
  return watch
}
