import type { Ability, Lesson } from '../pool/outcome.ts'
import type { UpstreamErrorText } from './error-body.ts'
import { outputWords, type VerdictName } from './rules.ts'

/** What refusals name that they can't take. */
const ABILITY_WORDS: readonly (readonly [Ability, RegExp])[] = [
  ['images', /\bimages?\b|image_url|input_image|vision|multi-?modal|图片|图像|视觉/i],
  ['audio', /\baudio\b|input_audio|语音|音频/i],
  ['json_schema', /response_format|json[_ ]?(schema|mode|object)|structured[_ ]output|text\.format/i],
  ['tools', /\btools?\b|tool_(choice|calls?|use)|function[_ ]?call|\bfunctions\b|工具|函数/i],
  ['stream', /\bstream(ing|ed)?\b|流式/i],
]

/**
 * What a refusal of one request says of the upstream; undefined where its words name nothing.
 * @param verdict of the refusal
 */
export function lessonIn(
  { message, code }: UpstreamErrorText,
  verdict: VerdictName,
  status: number,
): Lesson | undefined {
  if (verdict === 'tooLong') {
    const about = outputWords.test(message) ? 'output' : 'context'
    return { about, limit: limitIn(message) }
  }
  if (status === 413) return { about: 'body' }
  if (verdict !== 'refusedBody') return undefined
  const about = ABILITY_WORDS.find(([, words]) => words.test(message) || words.test(code))?.[0]
  return about && { about }
}

/** Where the limit stands in a sentence; the first that fits is taken. */
const LIMITS: readonly RegExp[] = [
  /can only afford ([\d,_]+)/i,
  /(?:at most|no more than|less than or equal to|maximum of|<=|≤)\W{0,3}([\d,_]+)/i,
  /\[\d+, ?([\d,_]+)\]/,
  /> ?([\d,_]+)\s*$/,
  /(?:maximum|max|limit)\b[^\d]{0,60}?(?:is|of|:|=|are|was)\W{0,3}([\d,_]+)/i,
  /limit (?:of )?([\d,_]+)/i,
]

/** Tokens that a refusal names as the most; undefined where it names none. */
function limitIn(message: string): number | undefined {
  for (const pattern of LIMITS) {
    const limit = Number(pattern.exec(message)?.[1]?.replaceAll(/[,_]/g, '') ?? NaN)
    if (limit >= 1 && limit < 1e9) return limit
  }
  return undefined
}
