/**
 * Breaks one rule at a time in a copy of the tree and runs the tests that hold it: each must go red.
 *
 * `npm run test:mutations [-- WORD]`; with a word only mutations whose file or reason has it. Exit code 1 when a
 * mutation survives or no longer finds its place.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { mutations, type Mutation } from './mutations.ts'

const root = resolve(import.meta.dirname, '../..')
const copied = ['src', 'tests', 'config', 'package.json', 'tsconfig.json', 'vitest.config.ts']

function copyTree(): string {
  const copy = mkdtempSync(join(tmpdir(), 'aiload-mutations-'))
  for (const name of copied) cpSync(join(root, name), join(copy, name), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

/** Whether the tests pass. */
function isGreen(copy: string, tests: readonly string[]): Promise<boolean> {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const child = spawn(process.execPath, [vitest, 'run', '--bail', '1', '--testTimeout', '10000', ...tests], {
    cwd: copy,
    stdio: 'ignore',
  })
  return new Promise((done, fail) => child.once('error', fail).once('exit', (code) => done(code === 0)))
}

async function verdictOn(
  copy: string,
  { file, search, replace, tests }: Mutation,
): Promise<'killed' | 'SURVIVED' | 'LOST ITS PLACE'> {
  const path = join(copy, file)
  const source = readFileSync(path, 'utf8')
  if (source.split(search).length !== 2) return 'LOST ITS PLACE'
  writeFileSync(
    path,
    source.replace(search, () => replace),
  )
  const green = await isGreen(copy, tests)
  writeFileSync(path, source)
  return green ? 'SURVIVED' : 'killed'
}

const word = process.argv[2] ?? ''
const chosen = mutations.filter(({ file, because }) => `${file} ${because}`.includes(word))
const copy = copyTree()
let failures = 0
try {
  const all = [...new Set(chosen.flatMap(({ tests }) => tests))]
  if (!(await isGreen(copy, all))) throw new Error('the tests are red before anything was broken')
  for (const mutation of chosen) {
    const verdict = await verdictOn(copy, mutation)
    if (verdict !== 'killed') failures += 1
    console.log(`${verdict.padEnd(14)} ${mutation.file.padEnd(32)} ${mutation.because}`)
  }
} finally {
  rmSync(copy, { recursive: true, force: true })
}
console.log(`${chosen.length - failures} of ${chosen.length} killed`)
process.exitCode = failures === 0 ? 0 : 1
