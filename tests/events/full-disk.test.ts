import { expect, test, vi } from 'vitest'
import { temporaryDirectory } from '../support/gateway-process.ts'
import { bed, idsOf } from './event-file-bed.ts'

/** Bytes that fit on the disk; then a write is cut, and each one fails. */
const disk = vi.hoisted(() => ({ room: Infinity }))

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>()
  const appendFile = async (path: string, data: Uint8Array, options: object): Promise<void> => {
    const part = data.subarray(0, disk.room)
    disk.room -= part.length
    await real.appendFile(path, part, options)
    if (part.length < data.length) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
  }
  return { ...real, appendFile }
})

test.each([0, 3, 20, 50, 400])(
  'on a full disk, which %i more bytes fit on, there is one warning and nothing is lost; with room again all is written whole',
  async (room) => {
    disk.room = Infinity
    const directory = temporaryDirectory()
    const log = bed(directory)
    const ids = await log.end(30)
    await log.written()
    disk.room = room
    for (let round = 0; round < 3; round++) {
      ids.push(...(await log.end(200)))
      expect(await idsOf(log)).toEqual(ids.toReversed())
    }
    expect(log.told).toEqual([
      expect.objectContaining({ message: expect.stringMatching(/can't be written \(ENOSPC\)$/) }),
    ])
    const early = (await bed(directory).list()).requests.map(({ id }) => id)
    expect(ids.toReversed().slice(-early.length)).toEqual(early)
    expect(early.length).toBeGreaterThanOrEqual(30)
    disk.room = Infinity
    ids.push(...(await log.end(5)))
    await log.close()
    expect(await idsOf(bed(directory))).toEqual(ids.toReversed())
    expect(log.told).toHaveLength(1)
  },
)

test('of a log that could not be written for long the list says that something is missing', async () => {
  disk.room = Infinity
  const directory = temporaryDirectory()
  const log = bed(directory)
  const first = await log.end(1_500)
  await log.written()
  disk.room = 0
  for (let round = 0; round < 4; round++) {
    await log.end(1_000)
    await log.written()
  }
  disk.room = Infinity
  const last = await log.end(5)
  await log.close()
  const next = bed(directory)
  const all: string[] = []
  const told = new Set<string | null>()
  for (let page; page === undefined || page.requests.length > 0;) {
    page = await next.requests.list({ limit: 1_000, before: all.at(-1) })
    all.push(...page.requests.map(({ id }) => id))
    told.add(page.dropped)
  }
  expect([all.slice(0, 5), all.slice(-1_000)]).toEqual([
    last.toReversed(),
    first.slice(0, 1_000).toReversed(),
  ])
  expect([...told].join('\n')).toMatch(/(^|; )up to 2,000 requests are missing: they could not be written$/m)
}, 60_000)
