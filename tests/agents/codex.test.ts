import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { spawnAiload, temporaryDirectory } from '../support/gateway-process.ts'
import { codexDirectory, execFlags, runCodex } from './codex.ts'
import { LAST_WORD, PROOF, PROOF_FILE } from './model.ts'
import { ALL, LIMITED, sicknesses, startSickPool, TURNS_FOR_ALL, type SickPool } from './sick-pool.ts'

describe("OpenAI's Codex CLI", () => {
  let pool: SickPool
  let mixed: SickPool
  beforeAll(async () => {
    pool = await startSickPool('in_order')
    mixed = await startSickPool('round_robin')
  })
  afterAll(async () => {
    await pool.close()
    await mixed.close()
  })

  async function expectTurn({ gateway }: SickPool, model: string, run = runCodex): Promise<void> {
    const home = temporaryDirectory()
    const { code, stdout, stderr } = await run(gateway, model, home)
    expect(code, `${stdout}${stderr}`).toBe(0)
    const lines = stdout.trim().split('\n')
    const events = lines.map((line) => JSON.parse(line) as { type: string; item?: Record<string, unknown> })
    const items = events.filter(({ type }) => type === 'item.completed').map(({ item }) => item)
    expect(items).toContainEqual(
      expect.objectContaining({
        type: 'command_execution',
        exit_code: 0,
        aggregated_output: expect.stringContaining(PROOF),
      }),
    )
    expect(items.at(-1)).toMatchObject({ type: 'agent_message', text: LAST_WORD })
    expect(events.at(-1)?.type).toBe('turn.completed')
    expect(readFileSync(join(home, PROOF_FILE), 'utf8').trim()).toBe(PROOF)
  }

  test.each(Object.keys(sicknesses))(
    'runs the command of the model and ends well beside an upstream with %s',
    async (sickness) => {
      await expectTurn(pool, pool.pairOf(sickness))
      expect(pool.askedOf(sickness), 'the sick one is asked first').toBeGreaterThan(0)
    },
  )

  test('tells of a limit that was found behind comments, with its time', async () => {
    const { code, stdout } = await runCodex(pool.gateway, LIMITED, temporaryDirectory())
    expect(code).toBe(1)
    expect(stdout).toMatch(/"turn\.failed".*Every upstream is at its limit.* in \d+s/)
  })

  test('needs no configuration of its own where aiload run starts it', async () => {
    await expectTurn(pool, ALL, async (gateway, model, home) => {
      const env = { PATH: `${codexDirectory}:${process.env['PATH']}`, HOME: home, CODEX_HOME: home }
      const where = ['--config', gateway.configFile, '--port', String(gateway.port)]
      const question = ['exec', '-m', model, ...execFlags, 'Make the file.']
      const child = spawnAiload(['run', 'codex', ...where, '--', ...question], { directory: home, env })
      const { code } = await child.exit
      return { code, stdout: child.stdout, stderr: child.stderr }
    })
  })

  test('ends every turn well over a pool of which half are sick', async () => {
    for (let turn = 0; turn < TURNS_FOR_ALL; turn++) await expectTurn(mixed, ALL)
  })
})
