import { expect, test } from 'vitest'
import { createQueue, type TryOutcome } from '../../src/relay/queue.ts'
import { createFakeClock, settle } from '../support/fake-clock.ts'

/** Places that are handed out one by one. */
function bed({ size = 10, isShared = false } = {}) {
  const clock = createFakeClock()
  const sizes: number[] = []
  const queue = createQueue(clock, {
    size: () => size,
    onSize: (waiting) => void sizes.push(waiting),
    isShared,
  })
  const start = clock.now()
  const log: string[] = []
  const free = new Map<string, number>()
  let until = Infinity
  const join = (
    name: string,
    more: {
      wants?: string[]
      inMs?: number
      clientSignal?: AbortSignal
      attempt?: () => Promise<TryOutcome<string>>
    } = {},
  ) => {
    const wants = new Set(more.wants ?? ['a'])
    const attempt = (taken: ReadonlySet<string>): TryOutcome<string> => {
      const got = [...wants].find((id) => !taken.has(id) && (free.get(id) ?? 0) > 0)
      if (got === undefined) return { until, onRelease: true }
      free.set(got, (free.get(got) ?? 0) - 1)
      return { got }
    }
    const release = (got: string): void => void log.push(`${name} gave ${got} back`)
    const clientSignal = more.clientSignal ?? new AbortController().signal
    return queue
      .wait({
        wants,
        tryNow: more.attempt ?? attempt,
        release,
        deadline: start + (more.inMs ?? 5_000),
        clientSignal,
      })
      .then((how) => log.push(`${name} ${typeof how === 'string' ? how : `got ${how.got}`}`))
  }
  const release = async (id: string, count = 1): Promise<void> => {
    free.set(id, count)
    queue.wake()
    await settle()
  }
  return { clock, queue, log, join, release, sizes, free, setUntil: (ms: number) => (until = start + ms) }
}

test('who came first is served first', async () => {
  const { join, release, log } = bed()
  for (const name of ['one', 'two', 'three']) void join(name)
  await release('a', 2)
  expect(log).toEqual(['one got a', 'two got a'])
  await release('a')
  expect(log).toEqual(['one got a', 'two got a', 'three got a'])
})

test('who waits for something else does not stand in the way', async () => {
  const { join, release, log, queue } = bed()
  void join('only a', { wants: ['a'] })
  void join('any', { wants: ['a', 'b'] })
  expect([queue.isAwaited('a'), queue.isAwaited('b'), queue.isAwaited('c')]).toEqual([true, true, false])
  await release('b')
  expect(log).toEqual(['any got b'])
  expect(queue.isAwaited('b')).toBe(false)
})

test('who came later leaves to the first what that one waits for', async () => {
  const { join, release, log, free } = bed()
  void join('big', { attempt: async () => ({ until: Infinity, onRelease: true }) })
  void join('small', { wants: ['a'] })
  await release('a')
  expect(log).toEqual([])
  expect(free.get('a')).toBe(1)
})

test('whose time is over tries what those in front wait for longer', async () => {
  const { clock, join, free, log } = bed()
  const none = async (): Promise<TryOutcome<string>> => ({ until: Infinity, onRelease: true })
  void join('one', { attempt: none })
  void join('two', { inMs: 200 })
  await settle()
  free.set('a', 1)
  await clock.advance(201)
  expect(log).toEqual(['two got a'])
})

test('one more than the queue holds is told so at once', async () => {
  const { join, log, sizes } = bed({ size: 1 })
  void join('one')
  await join('two')
  expect(log).toEqual(['two full'])
  expect(sizes).toEqual([1])
})

test('who leaves makes room, and those behind it are asked', async () => {
  const { join, release, log, queue, clock } = bed()
  const controller = new AbortController()
  void join('one', {
    clientSignal: controller.signal,
    attempt: async () => ({ until: Infinity, onRelease: true }),
  })
  void join('two')
  await release('a')
  controller.abort()
  await settle()
  expect(log).toEqual(['one gone', 'two got a'])
  expect(queue.size).toBe(0)
  expect(clock.timers).toBe(0)
})

test('who has left before it waits is told so', async () => {
  const { join, log } = bed()
  await join('one', { clientSignal: AbortSignal.abort() })
  expect(log).toEqual(['one gone'])
})

test('a place that is had too late is given back', async () => {
  const { join, log } = bed()
  const controller = new AbortController()
  let have: (outcome: TryOutcome<string>) => void = () => {}
  void join('slow', {
    clientSignal: controller.signal,
    attempt: () => new Promise((resolve) => (have = resolve)),
  })
  await settle()
  controller.abort()
  have({ got: 'a' })
  await settle()
  expect(log).toEqual(['slow gone', 'slow gave a back'])
})

test('a failing attempt ends its own wait and nobody else’s', async () => {
  const { join, release, log, queue } = bed()
  const failing = join('one', {
    attempt: async () => {
      throw new Error('lost')
    },
  })
  void join('two')
  await expect(failing).rejects.toThrow('lost')
  await release('a')
  expect(log).toEqual(['two got a'])
  expect(queue.size).toBe(0)
})

test('the time that was told is waited for, to the moment', async () => {
  const { join, clock, log, free, setUntil } = bed()
  setUntil(3_000)
  void join('one')
  await clock.advance(2_999)
  free.set('a', 1)
  expect(log).toEqual([])
  await clock.advance(1)
  expect(log).toEqual(['one got a'])
})

test('what opens at the last moment is still had', async () => {
  const { join, clock, log, free, setUntil } = bed()
  setUntil(5_000)
  void join('one')
  await clock.advance(4_999)
  free.set('a', 1)
  await clock.advance(1)
  expect(log).toEqual(['one got a'])
})

test('the wait ends with its deadline, each in its own time', async () => {
  const { join, clock, log } = bed()
  void join('one', { inMs: 3_000 })
  void join('two', { inMs: 2_000 })
  await clock.advance(2_000)
  expect(log).toEqual(['two too-late'])
  await clock.advance(1_000)
  expect(log).toEqual(['two too-late', 'one too-late'])
  expect(clock.timers).toBe(0)
})

test('nobody waits for what opens too late', async () => {
  const { join, log } = bed()
  await join('one', { attempt: async () => ({ until: Infinity, onRelease: false }) })
  expect(log).toEqual(['one too-late'])
})

test('a wake in the middle of a round is not lost', async () => {
  const { join, log, queue, free } = bed()
  const answers: ((outcome: TryOutcome<string>) => void)[] = []
  void join('one', { attempt: () => new Promise((resolve) => answers.push(resolve)) })
  await settle()
  queue.wake()
  free.set('a', 1)
  answers.shift()?.({ until: Infinity, onRelease: true })
  await settle()
  answers.shift()?.({ got: 'a' })
  await settle()
  expect(log).toEqual(['one got a'])
})

test('where a request may end without a word, one that gives no sign holds up the others for a second', async () => {
  const { join, clock, log, free } = bed({ isShared: true })
  void join('lost', { attempt: () => new Promise(() => {}) })
  void join('next')
  free.set('a', 1)
  await clock.advance(900)
  expect(log).toEqual([])
  await clock.advance(1_100)
  expect(log).toEqual(['lost too-late', 'next got a'])
})

test('who waits long and gives signs is not taken for lost', async () => {
  const { join, clock, log, release } = bed({ isShared: true })
  for (const name of ['one', 'two', 'three']) void join(name, { inMs: 60_000 })
  await clock.advance(50_000)
  await release('a', 3)
  expect(log).toEqual(['one got a', 'two got a', 'three got a'])
  expect(clock.timers).toBe(0)
})
