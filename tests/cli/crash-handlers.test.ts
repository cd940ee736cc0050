import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { errorTrace } from '../../src/errors.ts'
import { temporaryDirectory } from '../support/gateway-process.ts'

test('a trace has the name, the code and the frames of an error, and nothing of its message', () => {
  const error = Object.assign(new TypeError('Bearer sk-secret\n    at sk-secret (sk-secret.ts:1:1)'), {
    code: 'ERR_INVALID_CHAR',
  })
  const trace = errorTrace(error)
  expect(trace).toMatch(/^TypeError ERR_INVALID_CHAR at .*crash-handlers\.test\.ts:\d+:\d+/)
  expect(trace).not.toContain('sk-secret')
  expect(trace).not.toContain('\n')
})

test.each([['text sk-secret'], [undefined], [{ message: 'sk-secret' }]])(
  '%j thrown is told without its value',
  (thrown) => {
    expect(errorTrace(thrown)).toBe('a value that is not an Error was thrown')
  },
)

test('an error whose stack was taken away has a name still', () => {
  const error = new RangeError('sk-secret')
  delete error.stack
  expect(errorTrace(error)).toBe('RangeError')
})

/** Runs a script that has the crash handlers installed, as a process of its own. */
async function run(script: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const file = join(temporaryDirectory(), 'script.ts')
  const from = (path: string): string => JSON.stringify(pathToFileURL(join(import.meta.dirname, path)).href)
  writeFileSync(
    file,
    `import { installCrashHandlers } from ${from('../../src/cli/process.ts')}
     const told = []
     installCrashHandlers({ notice: (_, line) => told.push(line), flush: () => console.log(told.join('\\n')) })
     ${script}`,
  )
  const args = ['--import', import.meta.resolve('tsx'), file]
  return promisify(execFile)(process.execPath, args).then(
    (ended) => ({ code: 0, ...ended }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
}

test('an uncaught exception is told in one line, without its message, and ends the process with 1', async () => {
  const { code, stdout, stderr } = await run(
    `setTimeout(() => { throw new Error('sk-secret') }); setTimeout(() => console.log('still there'), 200)`,
  )
  expect([code, stderr]).toEqual([1, ''])
  expect(stdout).toMatch(/^AILoad stops after an internal error: Error at [^\n]*\n$/)
  expect(stdout).not.toContain('sk-secret')
})

test('an unhandled rejection is told and ends nothing', async () => {
  const { code, stdout, stderr } = await run(
    `Promise.reject(new Error('sk-secret')); setTimeout(() => console.log(told.length, 'still there'), 100)`,
  )
  expect([code, stdout, stderr]).toEqual([0, '1 still there\n', ''])
})
