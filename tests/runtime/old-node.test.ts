import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { root, tools } from './tools.ts'

let directory = ''

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'aiload-old-node-'))
  spawnSync(process.execPath, ['--import', 'tsx', 'config/build.ts', join(directory, 'dist')], { cwd: root })
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

test.each([
  { node: tools.node12, version: '12.22.12' },
  { node: tools.node18, version: '18.20.8' },
])('Node $version is told in one sentence that it is too old, and by npm start too', ({ node, version }) => {
  for (const file of [join(directory, 'dist/cli/main.js'), join(root, 'config/from-source.mjs')]) {
    const { status, stdout, stderr } = spawnSync(node, [file, 'start'], { encoding: 'utf8' })
    const sentence = `AILoad needs Node 20.19 or newer, and this is Node ${version}.\n`
    expect([status, stdout, stderr]).toEqual([1, '', sentence])
  }
})
