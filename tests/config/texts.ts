import * as fc from 'fast-check'
import { loadConfig } from '../../src/config/load.ts'
import { problemLine, type Environment } from '../../src/config/problem.ts'
import type { LimitWindow } from '../../src/pool/upstream.ts'

/** The file as the first users wrote it. */
export const fiveKeys = `{
  "auth_token": "",
  "models": [
    { "api_key": "sk-xxx", "base_url": "https://api.openai.com/v1/chat/completions", "model": "gpt-4o" }
  ],
  "server": { "model": "release", "port": 2081 },
  "settings": { "timeout": 120 }
}
`

type Parts = Readonly<Record<string, unknown>>

/** A valid model entry with some keys changed. */
export const model = (parts: Parts = {}): Parts => ({
  api_key: 'k1',
  base_url: 'https://a.example/v1',
  model: 'm',
  ...parts,
})

/** A valid file with some keys changed, as text. */
export const textOf = (parts: Parts = {}): string =>
  JSON.stringify({ auth_token: 't', models: [model()], ...parts }, undefined, 2)

/** The configuration of a text that is expected to be valid. */
export function configOf(text: string, env: Environment = {}) {
  const loaded = loadConfig(text, env, 'c.json')
  if (!loaded.ok) throw new Error(loaded.problems.map(problemLine).join('\n'))
  return loaded.config
}

const HOUR_MS = 3_600_000
const spans: Readonly<Record<string, number>> = {
  minute: 60_000,
  '5h': 5 * HOUR_MS,
  day: 24 * HOUR_MS,
  week: 7 * 24 * HOUR_MS,
  month: 31 * 24 * HOUR_MS,
}

/** A limit as the program has it: of requests in any minute, with some of it changed. */
export function window(parts: Partial<LimitWindow>): LimitWindow {
  const { counts, per } = { counts: 'requests', per: 'minute', ...parts }
  const rest = { name: `${counts}:${per}`, counts: 'requests' as const, limit: 10, per, resets: 'rolling' }
  return { ...rest, spanMs: spans[per] ?? NaN, ...parts }
}

/** The problems of a text, one line each; none when it is valid. */
export function problemsOf(text: string, env: Environment = {}): string[] {
  const loaded = loadConfig(text, env, 'c.json')
  return loaded.ok ? [] : loaded.problems.map(problemLine)
}

/** The warnings of a text, one line each. */
export const warningsOf = (text: string, env: Environment = {}): string[] =>
  loadConfig(text, env, 'c.json').warnings.map(problemLine)

/** The JSON paths that the problems of a text name. */
export function problemPaths(text: string, env: Environment = {}): string[] {
  const loaded = loadConfig(text, env, 'c.json')
  return loaded.ok ? [] : loaded.problems.map(({ path }) => path)
}

const PIECES = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\',
  '\n',
  '//',
  '/*',
  '*/',
  '1e',
  'null',
  '"a"',
  '"models"',
  '${',
]

/** Texts that look like a configuration here and there. */
export const brokenText = fc
  .array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ maxLength: 4 })), { maxLength: 30 })
  .map((parts) => parts.join(''))
