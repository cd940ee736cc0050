import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { steady } from '../../bench/sim/arrivals.ts'
import { tenAMinute } from '../../bench/sim/scenarios.ts'
import type { Prediction } from '../../src/cli/what-if/predict.ts'
import { segmentHead } from '../../src/events/archive.ts'
import { runAiload, temporaryDirectory } from '../support/gateway-process.ts'
import { runWorld, SECRET } from './recorded-world.ts'

const MINUTE_MS = 60_000
const KEY = 'sk-key-of-the-upstream'

const configOf = (more: object = {}): object => ({
  auth_token: 'sk-test-token',
  models: [{ base_url: 'https://one.sim/v1', api_key: KEY, model: 'm', name: 'one', ...more }],
  settings: { strategy: 'random' },
})
/** Twelve a minute of which ten are let through, until a minute ago. */
const world = { vendors: [tenAMinute({ name: 'one' })], arrivals: steady(12, 17 * MINUTE_MS), seed: 1 }
const { segments } = await runWorld(world, configOf(), Date.now() - 18 * MINUTE_MS)

/** A folder as a gateway leaves it. */
function folder({
  next = configOf({ api_key: [KEY, 'k2'] }),
  hasLog = true,
}: { next?: unknown; hasLog?: boolean } = {}) {
  const directory = temporaryDirectory()
  const known = new Set<string>()
  const parts = segments.flatMap((segment) => [
    segmentHead(segment, 0, { process: 'p', generation: 1, known }),
    segment.bytes,
  ])
  if (hasLog) {
    writeFileSync(join(directory, 'events.log'), Buffer.concat(parts))
    writeFileSync(join(directory, 'events.key'), SECRET.join(' '))
  }
  writeFileSync(join(directory, 'config.json'), JSON.stringify(configOf()))
  writeFileSync(join(directory, 'new.json'), JSON.stringify(next))
  return directory
}

const whatIf = (directory: string, ...more: readonly string[]) =>
  runAiload(['what-if', '--of', 'config.json', ...more], { directory })

describe('aiload what-if', () => {
  test('tells what happened, what the present configuration makes of it and what the new one would, and writes nothing', async () => {
    const directory = folder()
    const before = readdirSync(directory)
    const { code, stdout, stderr } = await whatIf(directory, '--config', 'new.json')
    expect([code, stderr]).toEqual([0, ''])
    const lines = stdout.split('\n')
    expect(lines[0]).toMatch(/^204 requests from \S+Z to \S+Z; each configuration was simulated 3 times$/)
    expect(lines[2]).toMatch(/^ +RECORDED +PRESENT +NEW$/)
    expect(lines).toContainEqual(expect.stringMatching(/^requests +204 +204 +204$/))
    expect(lines).toContainEqual(expect.stringMatching(/^answered +\d\d\.\d % +\d\d\.\d % .* 100\.0 %$/))
    expect(lines).toContainEqual(expect.stringMatching(/^refused: rate_limit_exceeded +\d+ +\d+ +0$/))
    expect(lines).toContainEqual(expect.stringMatching(/^answered by one-2 +0\.0 % +0\.0 % +\d+\.\d %$/))
    expect(lines).toContain('  one: at most 10 requests in 1 min, by where its refusals fell')
    expect(lines).toContain(
      'warning: one-2 is not in the log: it is taken to be like one, with limits of its own',
    )
    expect(stdout).not.toContain(KEY)
    expect(readdirSync(directory)).toEqual(before)
  })

  test('--json gives the same as numbers', async () => {
    const { code, stdout } = await whatIf(folder(), '--config', 'new.json', '--json')
    const told = JSON.parse(stdout) as Prediction & { warnings: string[] }
    expect(code).toBe(0)
    expect(told.new.answered_share).toBeGreaterThan((told.recorded.answered_share ?? 1) + 0.05)
    expect(told.upstreams.map(({ name, known_by: by, like }) => [name, by, like])).toEqual([
      ['one', 'itself', 'one'],
      ['one-2', 'sibling', 'one'],
    ])
    expect(told.warnings).toHaveLength(1)
  })

  test('tells the problems of the new configuration as check does', async () => {
    const directory = folder({ next: { ...configOf(), settings: { strategy: 'best' } } })
    const check = await runAiload(['check', '--config', 'new.json'], { directory })
    const { code, stdout, stderr } = await whatIf(directory, '--config', 'new.json')
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^new\.json:1:\d+: settings\.strategy: /)
    expect(check.stdout).toContain(stderr.trimEnd())
  })

  test('warns of what check warns of in the new configuration', async () => {
    const directory = folder({ next: configOf({ limits: { requests_per_minute: 1 } }) })
    const { stdout } = await whatIf(directory, '--config', 'new.json')
    expect(stdout).toMatch(
      /^warning: new\.json:1:\d+: models\[0\]\.limits\.requests_per_minute: unknown key/m,
    )
  })

  test.each([
    {
      given: ['--since', '24h'],
      says: 'aiload: what-if needs the new configuration, such as --config new.json',
    },
    {
      given: ['--config', 'new.json', '--since', 'yesterday'],
      says: 'aiload: --since is a time such as 24h, 90m or 2d, not "yesterday"',
    },
    {
      given: ['--config', 'new.json', '--since', '24'],
      says: 'aiload: --since is a time such as 24h, 90m or 2d, not "24"',
    },
  ])('does not guess what is meant by $given', async ({ given, says }) => {
    const { code, stderr } = await whatIf(folder(), ...given)
    expect([code, stderr.trimEnd()]).toEqual([2, says])
  })

  test('says where it looked when nothing is recorded, and what to do when there is too little', async () => {
    const empty = folder({ hasLog: false })
    const none = await whatIf(empty, '--config', 'new.json')
    expect([none.code, none.stderr]).toEqual([
      1,
      expect.stringContaining('there are no recorded requests in '),
    ])
    expect(none.stderr).toContain('--of')
    const noise = join(empty, 'events.log')
    writeFileSync(noise, 'noise')
    const damaged = await whatIf(empty, '--config', 'new.json')
    const words = `5 bytes of ${noise} are damaged or of another version, and were passed over\n`
    expect([damaged.code, damaged.stderr]).toEqual([1, words])
    const few = await whatIf(folder(), '--config', 'new.json', '--since', '90s')
    expect([few.code, few.stderr]).toEqual([
      1,
      expect.stringMatching(
        /has \d+ requests? of the last 1 min 30 s, and 20 are needed; the newest came at \S+Z: give a longer time with --since, or wait/,
      ),
    ])
  })
})
