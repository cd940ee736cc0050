/** What is used of an `AbortSignal`, which every real one can do. */
export interface AbortSignalLike {
  readonly aborted: boolean
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** What is used of an `AbortController`. */
export interface AbortControllerLike {
  readonly signal: AbortSignalLike
  abort(): void
}

/**
 * An abort for those within the process: no event target, no reason, and about a twentieth of the time. Listeners are
 * called as those of a real signal: once, in their order, before `abort` returns. That of `upper` counts as its own;
 * while nobody listens here, nothing hangs on it.
 */
export function createAbort(upper?: AbortSignalLike): AbortControllerLike {
  const listeners: (() => void)[] = []
  let isAborted = false
  function abort(): void {
    if (isAborted) return
    isAborted = true
    upper?.removeEventListener('abort', abort)
    for (const listener of listeners.splice(0)) listener()
  }
  const signal = {
    get aborted() {
      return isAborted || upper?.aborted === true
    },
    addEventListener(_type: 'abort', listener: () => void): void {
      if (signal.aborted || listeners.includes(listener)) return
      if (listeners.push(listener) === 1) upper?.addEventListener('abort', abort)
    },
    removeEventListener(_type: 'abort', listener: () => void): void {
      const at = listeners.indexOf(listener)
      if (at < 0) return
      listeners.splice(at, 1)
      if (listeners.length === 0) upper?.removeEventListener('abort', abort)
    },
  }
  return { signal, abort }
}
