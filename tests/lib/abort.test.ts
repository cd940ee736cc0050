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

const bound = (controller: AbortControllerLike): AbortControllerLike => ({
  signal: controller.signal,
  abort: () => controller.abort(),
})
