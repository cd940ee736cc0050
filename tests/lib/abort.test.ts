import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { createAbort, type AbortControllerLike } from '../../src/lib/abort.ts'

const kinds: [name: string, create: () => AbortControllerLike][] = [
  ['an AbortController', () => new AbortController()],
  ['createAbort', createAbort],
]

describe.each(kinds)('%s', (_name, create) => {
  test('tells every listener once and in order, before abort returns', () => {
    const { signal, abort } = bound(create())
    const told: string[] = []
    const first = (): void => void told.push('first')
    signal.addEventListener('abort', first)
    signal.addEventListener('abort', () => told.push(`second, aborted: ${signal.aborted}`))
    signal.addEventListener('abort', first)
    expect(signal.aborted).toBe(false)
    abort()
    abort()
    expect(told).toEqual(['first', 'second, aborted: true'])
  })

  test('does not tell one that has left, nor one that comes too late', () => {
    const { signal, abort } = bound(create())
    const told: string[] = []
    const left = (): void => void told.push('left')
    signal.addEventListener('abort', left)
    signal.removeEventListener('abort', left)
    abort()
    signal.addEventListener('abort', () => told.push('late'))
    abort()
    expect(told).toEqual([])
  })

  test('a listener may leave while it is told', () => {
    const { signal, abort } = bound(create())
    const told: string[] = []
    const once = (): void => {
      signal.removeEventListener('abort', once)
      told.push('once')
    }
    signal.addEventListener('abort', once)
    signal.addEventListener('abort', () => told.push('other'))
    abort()
    expect(told).toEqual(['once', 'other'])
  })
})

describe('an abort with another one above it', () => {
  test('follows it, tells each listener once, and leaves nothing on it', () => {
    for (const first of ['upper', 'own'] as const) {
      const upper = new AbortController()
      const own = createAbort(upper.signal)
      const [one, other] = first === 'upper' ? [upper, own] : [own, upper]
      let told = 0
      own.signal.addEventListener('abort', () => (told += 1))
      expect(getEventListeners(upper.signal, 'abort')).toHaveLength(1)
      one.abort()
      expect([told, own.signal.aborted, upper.signal.aborted]).toEqual([1, true, first === 'upper'])
      other.abort()
      expect(told).toBe(1)
      expect(getEventListeners(upper.signal, 'abort')).toHaveLength(0)
    }
  })

  test('hangs on it only while somebody listens, and knows of it all the same', () => {
    const upper = new AbortController()
    const { signal } = createAbort(upper.signal)
    const listeners = () => getEventListeners(upper.signal, 'abort').length
    const [one, two] = [() => {}, () => {}]
    signal.removeEventListener('abort', one)
    for (const listener of [one, two]) signal.addEventListener('abort', listener)
    expect(listeners()).toBe(1)
    signal.removeEventListener('abort', one)
    expect(listeners()).toBe(1)
    signal.removeEventListener('abort', two)
    expect(listeners()).toBe(0)
    upper.abort()
    expect(signal.aborted).toBe(true)
    let told = 0
    signal.addEventListener('abort', () => (told += 1))
    expect([told, listeners()]).toEqual([0, 0])
  })
})

const bound = (controller: AbortControllerLike): AbortControllerLike => ({
  signal: controller.signal,
  abort: () => controller.abort(),
})
