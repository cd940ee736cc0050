import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { parseArguments } from '../../src/cli/arguments.ts'
import { commands } from '../../src/cli/commands.ts'
import { oldNodeSentence } from '../../src/cli/old-node.mjs'
import { runAiload } from '../support/gateway-process.ts'

const run = (...args: string[]) => runAiload(args, { directory: tmpdir() })

test.each([['--help'], ['help'], ['-h']])(
  '%s names every command, the options of a start, and its signals',
  async (typed) => {
    const { code, stdout, stderr } = await run(typed)
    expect([code, stderr]).toEqual([0, ''])
    for (const [name, { summary }] of Object.entries(commands))
      expect(stdout.split('\n').some((line) => line.startsWith(`  ${name}`) && line.endsWith(summary))).toBe(
        true,
      )
    for (const word of ['--config', '--port', '--host', '--help', '--version', 'AILOAD_CONFIG', 'SIGHUP'])
      expect(stdout).toContain(word)
  },
)

test('every command has its own help, with what it takes, on lines that a terminal holds', async () => {
  for (const [name, { options }] of Object.entries(commands)) {
    const { code, stdout } = await run('help', name)
    expect([code, stdout.split('\n')[0]]).toEqual([0, expect.stringContaining(`Usage: aiload ${name}`)])
    for (const option of options) expect(stdout).toContain(`--${option}`)
    expect(stdout.split('\n').filter((line) => line.length > 100)).toEqual([])
  }
  expect((await run('check', '--help')).stdout).toBe((await run('help', 'check')).stdout)
})

test.each([['--version'], ['version']])(
  '%s prints the version of package.json and nothing else',
  async (typed) => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string
    }
    expect(await run(typed)).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
  },
)

test('npm run aiload runs the sources', () => {
  const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    scripts: Record<string, string>
  }
  const { status, stdout } = spawnSync(`${scripts['aiload']} version`, {
    cwd: new URL('../../', import.meta.url),
    shell: true,
    encoding: 'utf8',
  })
  expect([status, stdout]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/)])
})

test('what means nothing ends with 2 and one line, in well under a second', async () => {
  const { code, stdout, stderr, ms } = await run('--prot', '3000')
  expect([code, stdout, stderr]).toEqual([
    2,
    '',
    'aiload: there is no option "--prot"; did you mean --port?\n',
  ])
  expect(ms).toBeLessThan(15_000)
})

test('an option that is checked like the file ends with 2 and says what would be right', async () => {
  const { code, stderr } = await run('start', '--port', '99999')
  expect([code, stderr]).toEqual([
    2,
    'aiload: --port must be a whole number from 0 to 65535; write for example 2081\n',
  ])
})

test.each([
  { typed: [], means: { name: 'start' }, because: 'start is the default' },
  {
    typed: ['--port', '1', '--host=::1'],
    means: { name: 'start', port: 1, host: '::1' },
    because: 'options need no command',
  },
  {
    typed: ['-c', 'a.json', 'check'],
    means: { name: 'check', config: 'a.json' },
    because: 'an option may come first',
  },
  {
    typed: ['--config', 'a', '--config', 'b'],
    means: { name: 'start', config: 'b' },
    because: 'the last one counts',
  },
  {
    typed: ['token'],
    means: { name: 'token' },
    because: 'a token is shown only when asked for',
  },
  { typed: ['token', '--show'], means: { name: 'token', show: true }, because: 'it was asked for' },
  { typed: ['demo', '-p', '3000'], means: { name: 'demo', port: 3000 }, because: '-p is --port' },
  { typed: ['--log', 'json'], means: { name: 'start', log: 'json' }, because: 'it is an option of start' },
  { typed: ['check', '--help'], means: { name: 'help', word: 'check' }, because: 'help wins' },
  { typed: ['--help'], means: { name: 'help' }, because: 'no command was named' },
  { typed: ['help', 'check'], means: { name: 'help', word: 'check' }, because: 'help is a command too' },
  { typed: ['help'], means: { name: 'help' }, because: 'its argument may be absent' },
  { typed: ['version'], means: { name: 'version' }, because: 'version is a command too' },
  { typed: ['-v'], means: { name: 'version' }, because: '-v is --version' },
])('$typed means $means, since $because', ({ typed, means }) => {
  expect(parseArguments(typed, commands)).toEqual(means)
})

test.each([
  { typed: ['strat'], line: /no command "strat"; did you mean start\?/ },
  { typed: ['fly'], line: /no command "fly"; known: start, check, demo, token/ },
  { typed: ['help', 'chekc'], line: /no command "chekc"; did you mean check\?/ },
  { typed: ['chekc', '--help'], line: /no command "chekc"; did you mean check\?/ },
  { typed: ['version', '--port', '1'], line: /version takes no --port; it takes no option/ },
  { typed: ['check', '--', 'now'], line: /check takes no further arguments; what is "now" for\?/ },
  { typed: ['-x'], line: /no option "-x"/ },
  { typed: ['check', '--port', '1'], line: /check takes no --port; it takes --config/ },
  { typed: ['demo', '--config', 'x'], line: /demo takes no --config/ },
  { typed: ['start', 'now'], line: /start takes no further arguments; what is "now" for\?/ },
  { typed: ['--port'], line: /--port needs a value/ },
  { typed: ['--config='], line: /--config needs a value/ },
  { typed: ['--log', 'xml'], line: /--log is pretty or json, not "xml"/ },
  { typed: ['check', '--log', 'json'], line: /check takes no --log/ },
  { typed: ['token', '--show=yes'], line: /--show takes no value/ },
  { typed: ['--toString'], line: /no option "--toString"/ },
  { typed: ['constructor'], line: /no command "constructor"/ },
  { typed: ['a\nb'], line: /no command "a\\nb"/ },
])('$typed is told in one line', ({ typed, line }) => {
  const parsed = parseArguments(typed, commands)
  expect('misuse' in parsed ? parsed.misuse : '').toMatch(line)
  expect('misuse' in parsed ? parsed.misuse : '\n').not.toContain('\n')
})

test('an older Node than the package asks for is told in one sentence', () => {
  const { engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    engines: { node: string }
  }
  const least = engines.node.replace('>=', '')
  expect(oldNodeSentence('16.20.2')).toBe(`AILoad needs Node ${least} or newer, and this is Node 16.20.2.`)
  const [major = 0, minor = 0] = least.split('.').map(Number)
  expect(oldNodeSentence(`${major}.${minor - 1}.0`)).toContain(least)
  expect([`${major}.${minor}.0`, `${major + 1}.0.0`].map(oldNodeSentence)).toEqual([undefined, undefined])
})
