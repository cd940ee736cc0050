import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'

const sink = new URL('../../src/cli/log-output.ts', import.meta.url).href

/** A process of its own: what is tested is how a log behaves when one ends. */
function run(script: string): ChildProcess {
  const code = `import { createStdoutSink } from ${JSON.stringify(sink)}\nconst sink = createStdoutSink()\n${script}`
  return spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    stdio: 'pipe',
  })
}

async function outputOf(child: ChildProcess): Promise<{ code: number | null; out: string; err: string }> {
  let out = ''
  let err = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (err += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out, err }
}

test('every line arrives whole and in order, though the process exits at once and the pipe is smaller', async () => {
  const { code, out } = await outputOf(
    run(`for (let i = 0; i < 50_000; i++) sink.write('line ' + i + ' é')\nprocess.exit(3)`),
  )
  expect(code).toBe(3)
  expect(out).toBe(Array.from({ length: 50_000 }, (_, at) => `line ${at} é\n`).join(''))
})

test('lines are written together within 20 ms, and the sink keeps no process alive', async () => {
  const script = `
    import fs from 'node:fs'
    import { syncBuiltinESMExports } from 'node:module'
    const real = fs.writeSync
    let writes = 0
    fs.writeSync = (...args) => { if (args[0] === 1) writes++; return real(...args) }
    syncBuiltinESMExports()
    for (let i = 0; i < 100; i++) sink.write('line')
    const before = writes
    setTimeout(() => process.stderr.write(before + ' ' + writes), 200)`
  const { code, out, err } = await outputOf(run(script))
  expect(code).toBe(0)
  expect(out).toBe('line\n'.repeat(100))
  expect(err).toBe('0 1')
})

test('a reader that left ends the log, not the process', async () => {
  const child = run(`
    process.once('SIGUSR2', () => {
      for (let i = 0; i < 1_000; i++) sink.write('x'.repeat(1_000))
      sink.flush()
      console.log('others write too')
      setTimeout(() => { sink.write('and again'); sink.flush(); process.exit(7) }, 100)
    })
    setInterval(() => {}, 1_000)
    process.stderr.write('ready')`)
  child.stderr?.once('data', () => {
    child.stdout?.destroy()
    child.stdout?.once('close', () => child.kill('SIGUSR2'))
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  expect(code).toBe(7)
})

test('a reader that stands still neither stops the process nor fills its memory', async () => {
  const child = run(`
    const line = 'x'.repeat(1_000)
    for (let i = 0; i < 100_000; i++) sink.write(line)
    const heap = process.memoryUsage().rss
    process.stderr.write('ready ' + (heap < 250e6) + '\\n')
    process.stdin.resume()`)
  let err = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    err += text
    // Only now somebody reads.
    if (err.includes('ready')) child.stdout?.resume()
    if (err.includes('dropped')) child.stdin?.end()
  })
  await once(child, 'close')
  expect(err).toMatch(/^ready true\n\d+ log lines were dropped/)
})
