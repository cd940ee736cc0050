import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { parseArguments } from '../../src/cli/arguments.ts'
import { runAiload } from '../support/gateway-process.ts'

const run = (...args: string[]) => runAiload(args, { directory: tmpdir() })

test('--help names every command and option', async () => {
  const { code, stdout, stderr } = await run('--help')
  expect([code, stderr]).toEqual([0, ''])
  for (const word of [
    'start',
    'check',
    'demo',
    'token',
    '--config',
    '--port',
    '--host',
    '--show',
    '--log',
    '--help',
    '--version',
    'AILOAD_CONFIG',
    'SIGHUP',
  ]) {
    expect(stdout).toContain(word)
  }
})

test('--version prints the version of package.json and nothing else', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  expect(await run('--version')).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
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
    means: { name: 'token', show: false },
    because: 'a token is shown only when asked for',
  },
  { typed: ['token', '--show'], means: { name: 'token', show: true }, because: 'it was asked for' },
  { typed: ['demo', '-p', '3000'], means: { name: 'demo', port: 3000 }, because: '-p is --port' },
  { typed: ['--log', 'json'], means: { name: 'start', log: 'json' }, because: 'it is an option of start' },
  { typed: ['check', '--help'], means: { name: 'help' }, because: 'help wins' },
  { typed: ['-v'], means: { name: 'version' }, because: '-v is --version' },
])('$typed means $means, since $because', ({ typed, means }) => {
  expect(parseArguments(typed)).toEqual(means)
})

test.each([
  { typed: ['strat'], line: /no command "strat"; did you mean start\?/ },
  { typed: ['fly'], line: /no command "fly"; known: start, check, demo, token/ },
  { typed: ['-x'], line: /no option "-x"/ },
  { typed: ['check', '--port', '1'], line: /check takes no --port; it takes --config/ },
  { typed: ['demo', '--config', 'x'], line: /demo takes no --config/ },
  { typed: ['start', 'now'], line: /start takes no further arguments; what is "now" for\?/ },
  { typed: ['--port'], line: /--port needs a value/ },
  { typed: ['--config='], line: /--config needs a value/ },
  { typed: ['--log', 'xml'], line: /--log is not a known value; write one of "pretty" or "json"/ },
  { typed: ['check', '--log', 'json'], line: /check takes no --log/ },
  { typed: ['token', '--show=yes'], line: /--show takes no value/ },
  { typed: ['--toString'], line: /no option "--toString"/ },
  { typed: ['constructor'], line: /no command "constructor"/ },
  { typed: ['a\nb'], line: /no command "a\\nb"/ },
])('$typed is told in one line', ({ typed, line }) => {
  const parsed = parseArguments(typed)
  expect('misuse' in parsed ? parsed.misuse : '').toMatch(line)
  expect('misuse' in parsed ? parsed.misuse : '\n').not.toContain('\n')
})
