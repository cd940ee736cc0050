import { expect, test } from 'vitest'
import { stateFileOf } from '../../src/adapter/node/state-file.ts'
import { upstreamsOf } from '../../src/config/upstreams.ts'
import { startLines } from '../../src/cli/start.ts'
import { configOf, model, textOf } from '../config/texts.ts'

function linesOf(parts: Readonly<Record<string, unknown>>) {
  const config = configOf(textOf(parts))
  return startLines({
    version: '1.2.3',
    config,
    upstreams: upstreamsOf(config),
    port: 2081,
    file: '/d/config.json',
    tokenPlace: '"auth_token" in /d/config.json',
    isNew: false,
    hasNewToken: false,
    isTerminal: false,
    command: 'aiload',
  })
}

test.each([
  { host: '0.0.0.0', address: 'http://localhost:2081/v1 (every address of this machine)' },
  { host: '::', address: 'http://localhost:2081/v1 (every address of this machine)' },
  { host: '127.0.0.1', address: 'http://127.0.0.1:2081/v1' },
  { host: '::1', address: 'http://[::1]:2081/v1' },
  { host: 'gateway.example', address: 'http://gateway.example:2081/v1' },
])('listening on $host is shown as $address', ({ host, address }) => {
  expect(linesOf({ server: { host } })[0]).toBe(`AILoad 1.2.3 listens on ${address}`)
})

test('many upstreams are told by host, hundreds of hosts in a few lines', () => {
  const many = [
    ...Array.from({ length: 6 }, (_, at) => model({ api_key: [`a${at}`, `b${at}`], model: `m${at}` })),
    ...Array.from({ length: 200 }, (_, at) => model({ base_url: `https://h${at}.example/v1` })),
  ]
  const lines = linesOf({ models: many })
  expect(lines[1]).toBe('212 upstreams:')
  expect(lines[2]).toBe('  12 models at a.example: m0, m1, m2, m3 and 2 more')
  expect(lines).toContain('  and 193 more hosts')
  expect(lines.length).toBeLessThan(15)
})

test.each([
  { settings: {}, line: /affinity ip: one client address means one upstream at a time; .*"conversation"/ },
  { settings: { affinity: 'conversation' }, line: /affinity conversation$/ },
  { settings: { affinity: 'header:X-Team' }, line: /affinity header:x-team$/ },
  { settings: { ip_hash: false }, line: /affinity off$/ },
])('$settings is told as $line', ({ settings, line }) => {
  expect(linesOf({ settings }).some((one) => line.test(one))).toBe(true)
})

test.each([
  { file: '/d/data/config/config.json', kept: '/d/data/state.json' },
  { file: 'data/config.json', kept: '/d/data/state.json' },
  { file: '/etc/aiload/config.json', kept: '/etc/aiload/state.json' },
  { file: '/etc/aiload/my.json', kept: '/etc/aiload/state-my.json' },
  { file: 'my.json', kept: '/d/state-my.json' },
  { file: 'my.jsonc', kept: '/d/state-my.jsonc.json' },
  { file: 'data/config/my.json', kept: '/d/data/config/state-my.json' },
])('with $file, state is kept in $kept', ({ file, kept }) => {
  expect(stateFileOf(file, '/d')).toBe(kept)
})
