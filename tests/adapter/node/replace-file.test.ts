import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { replaceFile, type FileCalls } from '../../../src/adapter/node/replace-file.ts'

let directory = ''
let file = ''
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'aiload-replace-'))
  file = join(directory, 'config.json')
  fs.writeFileSync(file, 'the old text', { mode: 0o644 })
})
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }))

const refusing = (call: keyof FileCalls, code: string): FileCalls => ({
  ...fs,
  [call]: () => {
    throw Object.assign(new Error(code), { code })
  },
})
const inode = () => fs.statSync(file).ino
const mode = () => fs.statSync(file).mode & 0o777

test('the new text comes as a new file of mode 0600, with nothing left beside it', () => {
  const before = inode()
  replaceFile(file, 'new')
  expect(fs.readFileSync(file, 'utf8')).toBe('new')
  expect(inode()).not.toBe(before)
  expect(mode()).toBe(0o600)
  expect(fs.readdirSync(directory)).toEqual(['config.json'])
})

test('the text is on the disk before it takes the place of the old one', () => {
  const order: string[] = []
  const calls: FileCalls = {
    ...fs,
    fsyncSync: (descriptor) => {
      order.push('fsync')
      fs.fsyncSync(descriptor)
    },
    renameSync: (from, to) => {
      order.push('rename')
      fs.renameSync(from, to)
    },
  }
  replaceFile(file, 'new', { calls })
  expect(order).toEqual(['fsync', 'rename'])
})

test.each([
  ['renameSync', 'EBUSY'],
  ['renameSync', 'EXDEV'],
  ['renameSync', 'EPERM'],
])('where %s is refused with %s the file is written in place, shorter text included', (call, code) => {
  const before = inode()
  for (const text of ['a text that is longer than the old one', 'short']) {
    replaceFile(file, text, { calls: refusing(call as keyof FileCalls, code) })
    expect(fs.readFileSync(file, 'utf8')).toBe(text)
  }
  expect([inode(), mode()]).toEqual([before, 0o600])
  expect(fs.readdirSync(directory)).toEqual(['config.json'])
})

test.each(['EACCES', 'EROFS'])(
  'where the directory takes no new file (%s) it is written in place',
  (code) => {
    const calls: FileCalls = {
      ...fs,
      openSync: (path, flags, mode) => {
        if (flags === 'wx') throw Object.assign(new Error(code), { code })
        return fs.openSync(path, flags, mode)
      },
    }
    replaceFile(file, 'new', { calls })
    expect(fs.readFileSync(file, 'utf8')).toBe('new')
  },
)

test('a full disk leaves the old file alone', () => {
  expect(() => replaceFile(file, 'new', { calls: refusing('fsyncSync', 'ENOSPC') })).toThrow('ENOSPC')
  expect(fs.readFileSync(file, 'utf8')).toBe('the old text')
  expect(fs.readdirSync(directory)).toEqual(['config.json'])
})

test('a disk that fills while the file is written in place gives the old text back', () => {
  const calls = { ...refusing('renameSync', 'EBUSY') }
  let syncs = 0
  calls.fsyncSync = () => {
    syncs += 1
    if (syncs === 2) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
  }
  expect(() => replaceFile(file, 'a text that is longer than the old one', { calls })).toThrow('ENOSPC')
  expect(fs.readFileSync(file, 'utf8')).toBe('the old text')
})

test('a file system without owners is no obstacle', () => {
  replaceFile(file, 'new', { calls: refusing('fchownSync', 'EPERM') })
  expect(fs.readFileSync(file, 'utf8')).toBe('new')
})

test.each(['wx', 'r+'])('what somebody saves while the disk takes its time is kept (%s)', (way) => {
  const calls: FileCalls = {
    ...fs,
    openSync: (path, flags, mode) => {
      if (flags === 'wx') fs.writeFileSync(file, 'what somebody saved')
      if (flags === 'wx' && way !== 'wx') throw Object.assign(new Error('EACCES'), { code: 'EACCES' })
      return fs.openSync(path, flags, mode)
    },
  }
  expect(() => replaceFile(file, 'new', { before: 'the old text', calls })).toThrow('somebody else')
  expect(fs.readFileSync(file, 'utf8')).toBe('what somebody saved')
  expect(fs.readdirSync(directory)).toEqual(['config.json'])
})
