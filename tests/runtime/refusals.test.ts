import { expect, test } from 'vitest'
import { startWorkers, TOKEN } from './runtimes.ts'

const SECRETS = /sk-upstream-secret|sk-the-token|no url at all/
const MODEL = { base_url: 'https://a.test/v1', api_key: 'sk-upstream-secret', model: 'm' }
const broken = (...models: object[]): string => JSON.stringify({ models })

test.each([
  { texts: {}, all: /AILOAD_CONFIG and AUTH_TOKEN must be set/, because: 'nothing is set' },
  { texts: { AUTH_TOKEN: TOKEN }, all: /AILOAD_CONFIG must be set/, because: 'there is no configuration' },
  { texts: { AILOAD_CONFIG: broken(MODEL) }, all: /set AUTH_TOKEN/, because: 'there is no token' },
  {
    texts: { AILOAD_CONFIG: broken(), AUTH_TOKEN: TOKEN },
    all: /is invalid/,
    holder: /AILOAD_CONFIG:1:11: models: /,
    because: 'there is no upstream',
  },
  {
    texts: { AILOAD_CONFIG: broken(MODEL).slice(0, -2), AUTH_TOKEN: TOKEN },
    all: /is invalid/,
    holder: /AILOAD_CONFIG:1:\d+: expected/,
    because: 'it does not parse',
  },
  {
    texts: {
      AILOAD_CONFIG: broken(
        MODEL,
        { ...MODEL, base_url: 'no url at all' },
        { ...MODEL, api_key: '${UNSET}' },
      ),
      AUTH_TOKEN: TOKEN,
    },
    all: /is invalid/,
    holder: /models\[1\]\.base_url: .*\n.*models\[2\]\.api_key: .*UNSET is not set/,
    because: 'two of its models are wrong',
  },
])(
  'workerd answers 503 to all when $because, and tells the mistakes to who holds the token alone',
  async (given) => {
    const { texts, all, holder = all } = given
    const [worker] = await startWorkers({}, { texts })
    const asked = async (token: string): Promise<string> => {
      const answer = await fetch(`${worker!.url}/v1/models`, {
        headers: { authorization: `Bearer ${token}` },
      })
      expect(answer.status).toBe(503)
      const { error } = (await answer.json()) as { error: { message: string; code: string } }
      expect(error.code).toBe('not_configured')
      return error.message
    }
    try {
      const [told, refused] = [await asked(TOKEN), await asked('sk-of-somebody-else')]
      expect(told).toMatch(holder)
      expect(refused).toMatch(all)
      expect(refused).not.toContain('models')
      expect(`${told}${refused}${worker!.output()}`).not.toMatch(SECRETS)
    } finally {
      await worker!.stop()
    }
  },
)
