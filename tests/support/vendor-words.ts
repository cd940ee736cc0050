import { readFileSync } from 'node:fs'
import { abilities, type Failure, type Lesson } from '../../src/pool/outcome.ts'

const nobody = { scope: 'none', cause: 'failure', code: 'upstream_error', isForClient: true } as const

/** What a refusal can mean, by the names in `vendor-words.tsv`. */
const meanings = {
  'too long': { class: 'too-long', ...nobody },
  'refused body': { class: 'refused-body', ...nobody },
  'other account': { class: 'refused', ...nobody },
  'page or nothing': { class: 'refused', ...nobody },
  unpaid: { class: 'refused', scope: 'key', cause: 'quota', code: 'insufficient_quota' },
  limited: { class: 'refused', cause: 'rate-limited', code: 'rate_limit_exceeded' },
  'day is spent': { class: 'refused', scope: 'quota', cause: 'quota', code: 'rate_limit_exceeded' },
  overloaded: { class: 'refused', scope: 'upstream', cause: 'failure', code: 'upstream_overloaded' },
  'no key': { class: 'refused', scope: 'key', cause: 'auth', code: 'upstream_auth_failed' },
  'no entry': { class: 'refused', scope: 'upstream', cause: 'auth', code: 'upstream_auth_failed' },
  'no model': { class: 'refused', scope: 'endpoint', cause: 'not-found', code: 'upstream_model_not_found' },
  'no endpoint': { class: 'refused', scope: 'endpoint', cause: 'not-found', code: 'unsupported_endpoint' },
  odd: { class: 'refused', scope: 'upstream', cause: 'failure', code: 'upstream_error', isForClient: true },
  ambiguous: { class: 'ambiguous', scope: 'upstream', cause: 'failure', code: 'upstream_error' },
} as const satisfies Record<string, Partial<Failure>>

const isMeaning = (name: string): name is keyof typeof meanings => Object.hasOwn(meanings, name)

/** What somebody said, and what has to be made of it. */
interface VendorWords {
  readonly vendor: string
  readonly body: string
  /** The status that it came with, or inside a success the one that it should have had. */
  readonly status: number
  readonly meaning: string
  readonly expected: Partial<Failure>
  readonly lesson: Lesson | undefined
}

const abouts = [...abilities, 'context', 'output', 'body'] as const

function lessonOf(text: string): Lesson | undefined {
  const [word, limit] = text.split(' ')
  const about = abouts.find((name) => name === word)
  if (about === undefined) return undefined
  return abilities.some((name) => name === about) || about === 'body'
    ? { about }
    : { about, limit: limit === undefined ? undefined : Number(limit) }
}

/** Whether it stood inside a success, and the words. @throws Error at a line of another form */
function readLine(line: string): VendorWords & { isInside: boolean } {
  const [vendor = '', , status = '', meaning = '', lesson = '', body = ''] = line.split('\t')
  const [, inside, number] = /^(200=)?(\d{3})$/.exec(status) ?? []
  if (number === undefined || body === '' || !isMeaning(meaning)) throw new Error(`not read: ${line}`)
  const expected = { ...meanings[meaning], status: Number(number) }
  const isInside = inside !== undefined
  return { vendor, body, status: Number(number), meaning, expected, lesson: lessonOf(lesson), isInside }
}

const lines = readFileSync(new URL('vendor-words.tsv', import.meta.url), 'utf8').split('\n')
const all = lines.filter((line) => line !== '' && !line.startsWith('#')).map(readLine)

/** Refusals by their status. */
export const refusals: readonly VendorWords[] = all.filter(({ isInside }) => !isInside)
/** Errors inside a success. */
export const insideSuccesses: readonly VendorWords[] = all.filter(({ isInside }) => isInside)
