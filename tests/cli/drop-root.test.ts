import { chmodSync, lchownSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { dropRoot, own, parseOwner } from '../../src/cli/process.ts'
import { portOf, runAiload, spawnAiload, temporaryDirectory } from '../support/gateway-process.ts'

const listenOnLoopback = ['--host', '127.0.0.1', '--port', '0']
const isRoot = process.getuid?.() === 0
const nobody = 65_534

test.each([
  { text: '1000:1000', owner: { uid: 1000, gid: 1000 } },
  { text: '1000:50', owner: { uid: 1000, gid: 50 } },
  { text: '1000', owner: { uid: 1000, gid: 1000 } },
  { text: '0:0', owner: undefined },
  { text: '1000:0', owner: undefined },
  { text: 'node', owner: undefined },
  { text: '-1:1', owner: undefined },
  { text: '', owner: undefined },
])('$text is read as $owner', ({ text, owner }) => {
  expect(parseOwner(text)).toEqual(owner)
})

test('nothing is done when nothing is wanted', () => {
  expect(dropRoot(undefined, '/nowhere')).toEqual({})
  expect(dropRoot('', '/nowhere')).toEqual({})
})

test('who is not root stays who he is', async () => {
  const directory = temporaryDirectory()
  lchownSync(directory, isRoot ? nobody : process.getuid!(), -1)
  const env = { AILOAD_DROP_ROOT: '4242:4242' }
  const child = spawnAiload(listenOnLoopback, { directory, env, ...(isRoot ? { uid: nobody } : {}) })
  await portOf(child)
  expect(userOf(child.pid)).toBe(isRoot ? nobody : process.getuid!())
})

describe.runIf(isRoot)('as root', () => {
  test('the data directory is owned and root is left before anything is written', async () => {
    const directory = temporaryDirectory()
    chmodSync(directory, 0o755)
    mkdirSync(join(directory, 'data', 'config'), { recursive: true })
    const child = spawnAiload(listenOnLoopback, {
      directory,
      env: { AILOAD_DROP_ROOT: `${nobody}:${nobody}` },
    })
    await portOf(child)
    expect(userOf(child.pid)).toBe(nobody)
    expect(statusOf(child.pid, 'Groups')).toBe(String(nobody))
    for (const path of ['data', 'data/config', 'data/config/config.json']) {
      expect(statSync(join(directory, path))).toMatchObject({ uid: nobody })
    }
    expect(await child.stop()).toEqual({ code: 0, signal: null })
    expect(statSync(join(directory, 'data', 'state.json'))).toMatchObject({ uid: nobody, gid: nobody })
  })

  test('what a link points to keeps its owner, and so does what is owned already', () => {
    const directory = temporaryDirectory()
    const outside = join(temporaryDirectory(), 'outside')
    writeFileSync(outside, '')
    mkdirSync(join(directory, 'data'))
    symlinkSync(outside, join(directory, 'data', 'link'))
    const mine = join(directory, 'data', 'mine')
    writeFileSync(mine, '')
    lchownSync(mine, nobody, 7)
    expect(own(join(directory, 'data'), { uid: nobody, gid: nobody })).toBeUndefined()
    expect(statSync(outside)).toMatchObject({ uid: 0 })
    expect(statSync(mine)).toMatchObject({ uid: nobody, gid: 7 })
  })

  test('a directory that cannot be owned is one warning', () => {
    const file = join(temporaryDirectory(), 'file')
    writeFileSync(file, '')
    expect(own(join(file, 'data'), { uid: nobody, gid: nobody })).toMatch(
      /cannot be given to user 65534 \(ENOTDIR\)/,
    )
  })

  test('a user that makes no sense is refused in one line, since staying root is no answer', async () => {
    const directory = temporaryDirectory()
    const { code, stdout, stderr } = await runAiload(['start'], {
      directory,
      env: { AILOAD_DROP_ROOT: 'root' },
    })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toBe('AILOAD_DROP_ROOT is not a user; write it as uid:gid, such as 1000:1000\n')
  })
})

const statusOf = (pid: number, line: string): string =>
  new RegExp(`^${line}:\\s*(.*?)\\s*$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? ''
const userOf = (pid: number): number => Number(statusOf(pid, 'Uid').split(/\s/)[1])
