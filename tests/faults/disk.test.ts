import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { errorBody, healthy } from '../support/believable.ts'
import { runAiload, startGateway } from '../support/gateway-process.ts'
import { answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'

function directoryFor(): string {
  const directory = mkdtempSync(join(tmpdir(), 'aiload-disk-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  mkdirSync(join(directory, 'data', 'config'), { recursive: true })
  return directory
}

/** State that counts changes twice, with time for a write after each. */
test.each([
  {
    what: 'cannot be written',
    spoil: (data: string) => mkdirSync(join(data, 'state.json', 'in the way'), { recursive: true }),
  },
  { what: 'is on a full disk', spoil: (data: string) => fillDisk(data) },
])('state that $what: the gateway runs, and says so once', async ({ spoil }) => {
  const directory = directoryFor()
  spoil(join(directory, 'data'))
  const limited = await startScriptedUpstream(
    answer({ status: 429, headers: { 'retry-after': '1' }, body: errorBody('rate_limit_exceeded') }),
  )
  const well = await startScriptedUpstream(healthy())
  const gateway = await startGateway(
    {
      models: [limited, well].map(({ url }) => ({ base_url: `${url}/v1`, model: 'm' })),
      settings: { strategy: 'in_order', affinity: 'off' },
    },
    { directory },
  )
  const since = performance.now()
  while (performance.now() - since < 2_500) {
    expect((await gateway.chat()).status).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  expect((await gateway.stop()).code).toBe(0)
  expect(gateway.stdout.match(/state is not kept/g)).toHaveLength(1)
  expect(gateway.stderr).toBe('')
  for (const upstream of [limited, well]) await upstream.close()
})

/** Every write to this device fails as on a full disk. */
function fillDisk(data: string): void {
  for (const name of ['state.json.tmp', 'state.json.end.tmp']) symlinkSync('/dev/full', join(data, name))
}

test('without a token in the file and with no way to write one, it refuses to start', async () => {
  const directory = directoryFor()
  const configFile = join(directory, 'data', 'config', 'config.json')
  writeFileSync(
    configFile,
    JSON.stringify({ auth_token: '', models: [{ base_url: 'http://127.0.0.1:9999/v1', model: 'm' }] }),
  )
  lock(directory)
  const isRoot = process.getuid?.() === 0
  // Root may write everywhere; another user has to be able to read the sources.
  const { code, stderr, stdout } = await runAiload(['start'], { directory, ...(isRoot && { uid: 65_534 }) })
  expect(code, stdout).toBe(1)
  expect(stderr).toMatch(/auth_token/)
  expect(readFileSync(configFile, 'utf8')).toContain('"auth_token":""')
  expect(existsSync(join(directory, 'data', 'state.json'))).toBe(false)
})

/** Readable for all, writable for none but root. */
function lock(directory: string): void {
  chmodSync(join(directory, 'data', 'config', 'config.json'), 0o444)
  for (const path of [join(directory, 'data', 'config'), join(directory, 'data'), directory])
    chmodSync(path, 0o555)
  onTestFinished(() => {
    for (const path of [directory, join(directory, 'data'), join(directory, 'data', 'config')])
      chmodSync(path, 0o755)
  })
}
