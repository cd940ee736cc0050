import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { startGateway, temporaryDirectory } from '../support/gateway-process.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { until } from '../support/until.ts'

async function modelsFor() {
  const upstream = await startScriptedUpstream(healthy())
  onTestFinished(() => upstream.close())
  return [{ base_url: `${upstream.url}/v1`, model: 'm' }]
}

async function gatewayWith(logFile: object | undefined, directory = temporaryDirectory()) {
  const models = await modelsFor()
  const configWith = (log_file: object | undefined) => ({ models, server: { ...(log_file && { log_file }) } })
  const gateway = await startGateway(configWith(logFile), { directory })
  return { gateway, directory, configWith }
}

const linesIn = (file: string): string[] => readFileSync(file, 'utf8').split('\n').slice(0, -1)
/** Each is written at a moment of its own. */
const withoutTime = (lines: readonly string[]): string[] =>
  lines.map((line) => line.replace(/^\{"time":"[^"]*",/, '{'))
const messagesIn = (file: string): unknown[] =>
  linesIn(file).map((line) => (JSON.parse(line) as { message?: string }).message)

test('the file has the lines of the standard output, in a directory that is made, for nobody else to read', async () => {
  const directory = temporaryDirectory()
  const path = join(directory, 'logs', 'here', 'aiload.log')
  const { gateway } = await gatewayWith({ path }, directory)
  await gateway.chat()
  await gateway.stop()
  expect(withoutTime(linesIn(path))).toEqual(withoutTime(gateway.stdout.split('\n').slice(0, -1)))
  expect(messagesIn(path)).toContain('stopped')
  expect(statSync(path).mode & 0o777).toBe(0o600)
})

test('a path without a root is seen from the file of the configuration', async () => {
  const { gateway } = await gatewayWith({ path: '../aiload.log' })
  await gateway.stop()
  expect(messagesIn(join(gateway.configFile, '../../aiload.log'))).toContain('stopped')
})

test('a file that is full is put aside, so many are kept, and no line is lost or cut at the seam', async () => {
  const directory = temporaryDirectory()
  const path = join(directory, 'logs', 'aiload.log')
  mkdirSync(join(directory, 'logs'))
  writeFileSync(`${path}.3`, 'of an earlier configuration that kept more')
  const { gateway } = await gatewayWith({ path, bytes: 4_096, files: 2 }, directory)
  for (let at = 0; at < 60; at += 1) expect((await gateway.chat()).status).toBe(200)
  await gateway.stop()
  expect(readdirSync(join(directory, 'logs')).toSorted()).toEqual([
    'aiload.log',
    'aiload.log.1',
    'aiload.log.2',
  ])
  const files = [`${path}.2`, `${path}.1`, path]
  for (const file of files) expect(statSync(file).size).toBeLessThanOrEqual(4_096)
  const kept = files.flatMap(linesIn)
  const told = gateway.stdout.split('\n').slice(0, -1)
  expect(kept.length).toBeGreaterThan(10)
  expect(withoutTime(kept)).toEqual(withoutTime(told.slice(-kept.length)))
})

test('a start goes on in the file of the last one', async () => {
  const directory = temporaryDirectory()
  const path = join(directory, 'aiload.log')
  await (await gatewayWith({ path }, directory)).gateway.stop()
  const before = linesIn(path)
  await (await gatewayWith({ path }, directory)).gateway.stop()
  expect(linesIn(path).slice(0, before.length)).toEqual(before)
  expect(messagesIn(path).filter((message) => message === 'stopped')).toHaveLength(2)
})

test('a full disk stops nothing, is told of once, and the file goes on when there is room', async () => {
  const directory = temporaryDirectory()
  const path = join(directory, 'aiload.log')
  // Every write to this device fails as on a full disk.
  symlinkSync('/dev/full', path)
  const { gateway } = await gatewayWith({ path }, directory)
  await gateway.printed(/the log file .*aiload\.log can't be written \(ENOSPC\)/)
  for (let at = 0; at < 3; at += 1) {
    expect((await gateway.chat()).status).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 150))
  }
  rmSync(path)
  expect((await gateway.chat()).status).toBe(200)
  await gateway.printed(/the log file .*aiload\.log is written again; lines that it lacks: \d+/)
  expect(gateway.stdout.match(/can't be written/g)).toHaveLength(1)
  expect(gateway.stderr).toBe('')
  await gateway.stop()
  expect(messagesIn(path)).toContain('stopped')
})

test('a directory that takes no file is told of, and the gateway runs', async () => {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'file'), '')
  const { gateway } = await gatewayWith({ path: join(directory, 'file', 'aiload.log') }, directory)
  await gateway.printed(/can't be written \((?:ENOTDIR|EEXIST)\)/)
  expect((await gateway.chat()).status).toBe(200)
})

test('after SIGHUP a file that somebody has put aside is left alone', async () => {
  const directory = temporaryDirectory()
  const path = join(directory, 'aiload.log')
  const { gateway } = await gatewayWith({ path }, directory)
  await until(() => existsSync(path), Boolean)
  renameSync(path, `${path}-20261130`)
  gateway.signal('SIGHUP')
  await gateway.printed(/the configuration was reloaded/)
  await gateway.stop()
  expect(messagesIn(path)).toContain('stopped')
  expect(messagesIn(`${path}-20261130`)).not.toContain('stopped')
})

test('a changed configuration begins and ends the file', async () => {
  const directory = temporaryDirectory()
  const path = join(directory, 'aiload.log')
  const { gateway, configWith } = await gatewayWith(undefined, directory)
  gateway.writeConfig(configWith({ path }))
  await gateway.printed(/the configuration was reloaded/)
  await gateway.chat()
  await until(() => existsSync(path) && linesIn(path).length >= 2, Boolean)
  gateway.writeConfig(configWith(undefined))
  await gateway.printed(/reloaded[\s\S]*reloaded/)
  await gateway.stop()
  expect(messagesIn(path)).not.toContain('stopped')
})
