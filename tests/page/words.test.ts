import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { langOf, limitName, reasonText, translator, WORDS } from '../../src/page/words.ts'

const folder = join(import.meta.dirname, '../../src/page')
const sources = readdirSync(folder)
  .filter((name) => /\.tsx?$/.test(name))
  .map((name) => readFileSync(join(folder, name), 'utf8'))
  .join('\n')
  .replace(/export const WORDS[^]*?\n\} as const/, '')
const entries = Object.entries(WORDS)
const blanksOf = (text: string): string[] => [...text.matchAll(/\{\w+\}/g)].map(([blank]) => blank).toSorted()

test('every sentence stands in both languages, with the same blanks', () => {
  expect(entries.filter(([, both]) => both.some((text) => text.trim() === ''))).toEqual([])
  expect(
    entries.filter(([, [english, chinese]]) => blanksOf(english).join() !== blanksOf(chinese).join()),
  ).toEqual([])
})

test('what is Chinese has Chinese letters, but for what is the same everywhere', () => {
  const same = entries.filter(
    ([, [english, chinese]]) => !/\p{Script=Han}/u.test(chinese) && chinese !== english,
  )
  expect(same.map(([key]) => key)).toEqual(['language', 'limit_tokens', 'chartText'])
})

test('no sentence is there that nobody says', () => {
  const composed = /^(?:decision|limit|need|outcome|scope|source|status|window)_/
  const unsaid = Object.keys(WORDS).filter(
    (key) => !composed.test(key) && !new RegExp(`['".]${key}\\b`).test(sources),
  )
  // Names of views are said as such.
  expect(unsaid.filter((key) => !new RegExp(`\\b${key}:`).test(sources))).toEqual([])
})

test('blanks are filled in, and one that is not given shows', () => {
  const t = translator('en')
  expect(t('usedOf', { used: 1, left: 2, limit: 3 })).toBe('1 used, 2 of 3 left')
  expect(t('since')).toBe('since {time}')
  expect(translator('zh-CN')('needsYou')).toBe('需要处理')
})

test.each([
  [['zh-CN', 'en'], 'zh-CN'],
  [['zh-TW'], 'zh-CN'],
  [['en-US', 'zh'], 'en'],
  [['de'], 'en'],
  [[], 'en'],
])('a browser that asks for %j gets %s', (asked, lang) => expect(langOf(asked)).toBe(lang))

test.each([
  ['needs attention: key refused', '需要处理：密钥被拒绝'],
  ['requests per minute used up', '每分钟的请求已用完'],
  ["requests used up, by the upstream's own word", '上游自己说请求已用完'],
  ['status 503, 4 in a row', '状态 503，连续 4 次'],
  ['quota spent; the next request tries it', '额度用完；由下一个请求去试'],
  ["its vectors do not mix with another model's", '它的向量不能与另一个模型的混用'],
  ['not of the model that was asked for', '不属于所请求的模型'],
])('the reason %s is %s in Chinese', (why, chinese) => {
  expect(reasonText(why, 'zh-CN')).toBe(chinese)
  expect(reasonText(why, 'en')).toBe(why)
})

test('a limit is named by what it counts and in which time', () => {
  const t = translator('en')
  expect(limitName({ counts: 'tokens', window: 'day' }, t)).toBe('tokens / day')
  expect(limitName({ counts: 'requests', window: '5h' }, t)).toBe('requests / 5h')
  expect(limitName({ counts: 'requests', window: 'at_once' }, t)).toBe('requests at once')
})
