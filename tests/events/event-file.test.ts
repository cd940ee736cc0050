import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { temporaryDirectory } from '../support/gateway-process.ts'
import { bed, idsOf } from './event-file-bed.ts'

test('what another process has written is there again, the newest first', async () => {
  const directory = temporaryDirectory()
  const first = bed(directory)
  const ids = await first.end(5)
  await first.close()
  const second = bed(directory)
  ids.push(...(await second.end(3)))
  expect(await idsOf(second)).toEqual(ids.toReversed())
  expect((await second.list()).dropped).toBeNull()
  expect(statSync(second.file).mode & 0o777).toBe(0o600)
})

test('a file that was cut in the middle of a frame loses that frame and nothing behind it', async () => {
  const directory = temporaryDirectory()
  const first = bed(directory)
  const ids = await first.end(4)
  await first.close()
  writeFileSync(first.file, readFileSync(first.file).subarray(0, -7))
  const second = bed(directory)
  const later = await second.end(2)
  const { requests, dropped } = await second.list()
  expect(requests.map(({ id }) => id)).toEqual([...ids.slice(0, 3), ...later].toReversed())
  expect(dropped).toMatch(
    /^\d\d bytes of .*events\.log are damaged or of another version, and were passed over$/,
  )
})

test.each([
  ['noise', () => Buffer.from(Array.from({ length: 5_000 }, (_, at) => (at * 131) % 256))],
  ['text', () => Buffer.from('this is no log of events\n'.repeat(100))],
  ['nothing', () => Buffer.alloc(0)],
])('a file of %s is passed over, and written on behind it', async (_, content) => {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'events.log'), content())
  const log = bed(directory)
  const ids = await log.end(2)
  expect(await idsOf(log)).toEqual(ids.toReversed())
  await log.close()
  const { requests, dropped } = await bed(directory).list()
  expect(requests.map(({ id }) => id)).toEqual(ids.toReversed())
  const { length } = content()
  const lost = `${length} bytes of ${log.file} are damaged or of another version, and were passed over`
  expect(dropped).toBe(length === 0 ? null : lost)
})

test('two files are kept, the older one is dropped, and the list says so', async () => {
  const limits = { bytes: 120_000, days: 2 }
  const log = bed(temporaryDirectory(), limits)
  const ids: string[] = []
  for (let round = 0; round < 8; round++) {
    ids.push(...(await log.end(1_000)))
    // A segment is whole, and is written.
    await log.list(1)
  }
  const { requests, dropped, oldest_kept: oldest } = await log.list(1_000)
  expect(requests.map(({ id }) => id)).toEqual(ids.slice(-1_000).toReversed())
  expect(dropped).toMatch(/^requests before 20\S+ were dropped: .*events\.log and .*events\.log\.1 keep /)
  expect(Date.parse(oldest ?? '')).toBeGreaterThan(0)
  await log.close()
  const sizes = [log.file, `${log.file}.1`].map((file) => statSync(file).size)
  expect(sizes[0]! + sizes[1]!).toBeLessThan(limits.bytes * 1.6)
}, 60_000)

test('with 0 bytes nothing is written, and the last requests are in memory', async () => {
  const directory = temporaryDirectory()
  const log = bed(directory, { bytes: 0, days: 2 })
  const ids = await log.end(2_500)
  expect(existsSync(log.file)).toBe(false)
  const { requests, dropped } = await log.list(1_000)
  expect(requests).toHaveLength(1_000)
  expect(requests[0]?.id).toBe(ids.at(-1))
  expect(dropped).toMatch(/were dropped/)
}, 60_000)

test('a place that cannot be written is one warning, and the last requests are in memory', async () => {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'data'), 'a file where a directory should be')
  const log = bed(join(directory, 'data'))
  const ids = await log.end(3)
  expect(await idsOf(log)).toEqual(ids.toReversed())
  expect(await idsOf(log)).toEqual(ids.toReversed())
  expect(log.told).toEqual([
    {
      kind: 'notice',
      level: 'warning',
      message: expect.stringMatching(
        /events are not kept across a restart: .*events\.log can't be written \(E/,
      ),
    },
  ])
})

test('bytes of another version behind the mark are passed over', async () => {
  const directory = temporaryDirectory()
  const first = bed(directory)
  const ids = await first.end(2)
  await first.close()
  const bytes = readFileSync(first.file)
  const other = Buffer.from(bytes)
  other.write('"format":9', bytes.indexOf('"format":1'))
  appendFileSync(first.file, other)
  const { requests, dropped } = await bed(directory).list()
  expect(requests.map(({ id }) => id)).toEqual(ids.toReversed())
  expect(dropped).toMatch(/bytes of .* are damaged/)
})

test('two processes may write to one file, and each request is there once and whole', async () => {
  const directory = temporaryDirectory()
  const logs = [bed(directory), bed(directory)] as const
  const models = new Map<string, string>()
  let [first, second] = [0, 0]
  for (let round = 0; round < 6; round++) {
    for (const id of await logs[0].end(2)) models.set(id, `m${first++ % 7}`)
    await logs[0].written()
    // They have texts at other places.
    for (const id of await logs[1].end(round === 0 ? 5 : 3)) models.set(id, `m${second++ % 7}`)
    await logs[1].written()
  }
  for (const log of logs) await log.close()
  const { requests } = await bed(directory).list()
  expect(requests).toHaveLength(models.size)
  expect(new Map(requests.map(({ id, model }) => [id, model]))).toEqual(models)
})

test('of two processes one puts the file aside, and what the other writes can be read all the same', async () => {
  const directory = temporaryDirectory()
  const one = bed(directory, { bytes: 60_000, days: 2 })
  const other = bed(directory)
  const ids = await other.end(3)
  await other.written()
  await one.end(1_500)
  await one.written()
  expect(existsSync(`${one.file}.1`)).toBe(true)
  ids.push(...(await other.end(3)))
  await other.close()
  await one.close()
  const { requests } = await bed(directory).list()
  const found = requests.map(({ id }) => id).filter((id) => ids.includes(id))
  expect(found).toEqual(ids.toReversed())
}, 60_000)

test('a file that is removed while it is written to begins anew, and can be read', async () => {
  const directory = temporaryDirectory()
  const log = bed(directory)
  const ids = await log.end(3)
  await log.written()
  rmSync(log.file)
  ids.push(...(await log.end(2)))
  await log.close()
  expect(await idsOf(bed(directory))).toEqual(ids.toReversed())
})

test('a place that can be written to again is written to, with all that is in memory', async () => {
  const directory = temporaryDirectory()
  const log = bed(directory)
  mkdirSync(log.file)
  const ids = await log.end(3)
  await log.written()
  expect(log.told).toHaveLength(1)
  rmdirSync(log.file)
  ids.push(...(await log.end(2)))
  await log.close()
  expect(await idsOf(bed(directory))).toEqual(ids.toReversed())
})

test('what could only be written in part is written once more, and is there once', async () => {
  const directory = temporaryDirectory()
  const log = bed(directory)
  const ids = await log.end(30)
  await log.close()
  const whole = readFileSync(log.file)
  // As when the disk is full: a part of it, and later all of it.
  for (const cut of [20, 500, whole.length - 40]) {
    writeFileSync(log.file, Buffer.concat([whole.subarray(0, cut), whole]))
    expect([cut, await idsOf(bed(directory))]).toEqual([cut, ids.toReversed()])
  }
})

test.skipIf(process.getuid?.() === 0)('a log that may not be read is told as such', async () => {
  const directory = temporaryDirectory()
  const log = bed(directory)
  await log.end(2)
  await log.close()
  chmodSync(log.file, 0o200)
  expect((await bed(directory).list()).dropped).toBe(`${log.file} can't be read (EACCES)`)
})

test('a gateway that is hardly asked keeps nothing for longer than days either', async () => {
  const directory = temporaryDirectory()
  const limits = { bytes: 1_000_000, days: 2 }
  const first = bed(directory, limits)
  await first.end(3)
  await first.close()
  const long = new Date(Date.now() - 3 * 86_400_000)
  utimesSync(first.file, long, long)
  const now = Date.now
  onTestFinished(() => void (Date.now = now))
  Date.now = () => now() + 86_400_000
  const second = bed(directory, limits)
  const ids = await second.end(2)
  await second.written()
  await second.close()
  expect(readdirSync(directory).toSorted()).toEqual(['events.key', 'events.log'])
  expect(await idsOf(bed(directory, limits))).toEqual(ids.toReversed())
})
