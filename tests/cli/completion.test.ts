import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { commands } from '../../src/cli/commands.ts'
import { runAiload, temporaryDirectory } from '../support/gateway-process.ts'

const scripts = new Map<string, string>()
const shells = ['bash', 'zsh', 'fish']
const isInstalled = (shell: string): boolean => spawnSync(shell, ['--version']).status === 0

beforeAll(async () => {
  for (const shell of shells) {
    const { code, stdout } = await runAiload(['completion', shell], { directory: tmpdir() })
    expect(code).toBe(0)
    scripts.set(shell, stdout)
  }
})

/** What a shell prints that has read its script first. */
function printedBy(shell: string, flags: string[], task: string): string[] {
  const directory = temporaryDirectory()
  for (const name of ['one.json', 'two words.json']) writeFileSync(join(directory, name), '{}')
  // zsh's registry is there behind compinit alone, which needs a terminal.
  const text = `${shell === 'zsh' ? 'compdef() { : }' : ''}\n${scripts.get(shell)}\n${task}`
  const { stdout, stderr } = spawnSync(shell, [...flags, '-c', text], { cwd: directory, encoding: 'utf8' })
  expect(stderr).toBe('')
  return stdout.trimEnd().split('\n').toSorted()
}

/** What bash offers for the last of the words, as readline asks for it. */
const bashOffers = (...words: string[]): string[] =>
  printedBy(
    'bash',
    ['--norc', '--noprofile'],
    `COMP_WORDS=(aiload ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}
_aiload; printf '%s\\n' "\${COMPREPLY[@]}"`,
  )

test('bash asks the function of the script', () => {
  expect(printedBy('bash', ['--norc'], 'complete -p aiload')).toEqual(['complete -F _aiload aiload'])
})

test.each([
  { words: ['che'], offers: ['check'] },
  { words: ['completion', ''], offers: ['--help', 'bash', 'fish', 'zsh'] },
  { words: ['help', 'he'], offers: ['healthcheck', 'help'] },
  { words: ['check', '--'], offers: ['--config', '--help', '--json', '--live', '--spend'] },
  { words: ['--port', '1', 'tok'], offers: ['token'], because: 'the value of an option is no command' },
  { words: ['--config', 'check', '--po'], offers: ['--port'], because: 'nor is this one' },
  { words: ['check', '--config', ''], offers: ['one.json', 'two words.json'] },
  { words: ['check', '--config', '=', 'on'], offers: ['one.json'], because: 'bash takes = for a word' },
  { words: ['check', '-c', 'two'], offers: ['two words.json'] },
  { words: ['start', '--port', ''], offers: [''], because: 'nobody knows the port' },
  { words: ['check', '--', 'on'], offers: ['one.json'], because: 'what is handed on may be a file' },
])('bash offers $offers for $words', ({ words, offers }) => {
  expect(bashOffers(...words)).toEqual(offers)
})

test('bash offers every command, and for each the options that it takes', () => {
  expect(bashOffers('')).toEqual(expect.arrayContaining(Object.keys(commands)))
  for (const [name, { options }] of Object.entries(commands))
    expect(bashOffers(name, '--')).toEqual([...options, 'help'].map((option) => `--${option}`).toSorted())
})

test.skipIf(!isInstalled('fish'))('fish offers commands, options and files, with what they mean', () => {
  const offered = (line: string) => printedBy('fish', ['--no-config'], `complete -C '${line}'`)
  const names = offered('aiload ').map((line) => line.split('\t')[0])
  expect(names).toEqual(Object.keys(commands).toSorted())
  expect(offered('aiload tok')).toEqual([`token\t${commands['token']?.summary}`])
  expect(offered('aiload completion ')).toEqual(shells.toSorted())
  expect(offered('aiload check --li')).toEqual([expect.stringMatching(/^--live\t/)])
  expect(offered('aiload check --config on')).toEqual(['one.json'])
})

test.skipIf(!isInstalled('zsh'))(
  'zsh reads the script, and hands on the options of the command that is typed',
  () => {
    // In the place of zsh's own function, which needs a terminal: it prints what it is given.
    const typed = (name: string): string[] =>
      printedBy(
        'zsh',
        ['-f'],
        `_arguments() { if [[ $1 == -C ]]; then state=argument line=(${name}); else print -rl -- "$@"; fi }
_aiload`,
      )
    for (const [name, { options }] of Object.entries(commands))
      for (const option of options) expect(typed(name).join('\n')).toContain(`--${option}[`)
    expect(typed('completion')).toContain('1:argument:(bash zsh fish)')
    expect(typed('check').join('\n')).toContain('(-c --config)--config[the configuration; default\\:')
  },
)

test('a shell that is not known is told in one line', async () => {
  expect(await runAiload(['completion', 'bsh'], { directory: tmpdir() })).toMatchObject({
    code: 2,
    stderr: 'aiload: there is no shell "bsh"; did you mean bash?\n',
  })
  expect(await runAiload(['completion'], { directory: tmpdir() })).toMatchObject({
    code: 2,
    stderr: 'aiload: completion needs SHELL, such as: aiload completion bash\n',
  })
})
