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
 * called as those of a real signal: once, in their order, before `abort` returns.
 */
export function createAbort(): AbortControllerLike {
  const listeners: (() => void)[] = []
  const signal = {
    aborted: false,
    addEventListener(_type: 'abort', listener: () => void): void {
      if (!signal.aborted && !listeners.includes(listener)) listeners.push(listener)
    },
    removeEventListener(_type: 'abort', listener: () => void): void {
      const at = listeners.indexOf(listener)
      if (at >= 0) listeners.splice(at, 1)
    },
  }
  return {
    signal,
    abort() {
      if (signal.aborted) return
      signal.aborted = true
      for (const listener of listeners.splice(0)) listener()
    },
  }
}
