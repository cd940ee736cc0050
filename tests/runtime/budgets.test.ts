import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { VERSION } from '../../src/adapter/gateway.ts'
import { workerBundle } from './bundles.ts'
import { bun, deno, edgeRuntime, node, worker } from './runtimes.ts'
import { esbuild, root } from './tools.ts'

const KIB = 1024
/** Of what wrangler uploads. The platform takes 3 MiB, and reads it once for each isolate. */
const MOST_GZIPPED = 138 * KIB
/** From the start of a process to its first answer, on a machine that does other things too. */
const LONGEST_START_MS = 10_000
const LONGEST_WORKER_START_MS = 1_500

describe('the Worker', () => {
  test(`is at most ${MOST_GZIPPED / KIB} KiB gzipped`, () => {
    const gzipped = gzipSync(workerBundle(), { level: 9 }).length
    process.stdout.write(`the Worker is ${(gzipped / KIB).toFixed(1)} KiB gzipped\n`)
    expect(gzipped).toBeLessThan(MOST_GZIPPED)
  })

  test.each(['docs/edge.md', 'docs/edge.zh.md'])('is as large as %s says', (file) => {
    const told = /Worker (?:is|压缩后为) (\d+) KiB/.exec(readFileSync(join(root, file), 'utf8'))?.[1]
    const gzipped = gzipSync(workerBundle(), { level: 9 }).length
    expect(Math.abs(Number(told) - gzipped / KIB)).toBeLessThan(1.5)
  })

  test('asks for no module but workerd’s own', () => {
    const asked = [...workerBundle().matchAll(/\b(?:from|import|require)\s*\(?\s*["']([^"']+)["']/g)].map(
      ([, name]) => name,
    )
    expect(asked).toEqual(['cloudflare:workers'])
    expect(workerBundle()).not.toMatch(/["']node:/)
  })

  test('is of the version of the package', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    expect(VERSION).toBe(version)
  })
})

test.each([
  { entry: 'cloudflare/worker', exports: ['AiloadState', 'default'] },
  { entry: 'edge/edge', exports: ['createEdgeHandler'] },
  { entry: 'deno', exports: ['default'] },
  { entry: 'bun', exports: [] },
])('the entry $entry exports $exports and nothing else', async ({ entry, exports }) => {
  const { metafile } = await esbuild().build({
    entryPoints: [join(root, `src/adapter/${entry}.ts`)],
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    outdir: 'out',
    platform: entry === 'cloudflare/worker' || entry === 'edge/edge' ? 'browser' : 'node',
    external: ['cloudflare:workers'],
  })
  const [output] = Object.values(metafile.outputs)
  expect(output?.exports.toSorted()).toEqual(exports)
})

test.each([node('20'), node('24'), worker, bun, deno, edgeRuntime])(
  '$name answers soon after it is started',
  async (runtime) => {
    const gateway = await runtime.start({
      models: [{ base_url: 'https://upstream.invalid/v1', api_key: 'k', model: 'm' }],
    })
    await gateway.stop()
    process.stdout.write(`${runtime.name}: first answer after ${Math.round(gateway.startedInMs)} ms\n`)
    expect(gateway.startedInMs).toBeLessThan(runtime === worker ? LONGEST_WORKER_START_MS : LONGEST_START_MS)
  },
)
