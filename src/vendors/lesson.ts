import type { Ability, Lesson } from '../pool/outcome.ts'
import type { UpstreamErrorText } from './error-body.ts'
import { isAboutOutput, type VerdictName } from './rules.ts'

/** What refusals name that they can't take. */
const ABILITY_WORDS: readonly (readonly [Ability, RegExp])[] = [
  ['images', /\bimages?\b|image_url|input_image|\bvision\b|multi-?modal|图片|图像|视觉/i],
  ['audio', /\baudio\b|input_audio|语音|音频/i],
  ['json_schema', /response_?format|json[_ ]?(schema|mode|object)|structured[_ ]outputs?|text\.format/i],
  ['tools', /\btools?\b|tool_(choice|calls?|use)|function[_ ]?call|\bfunctions\b|工具|函数/i],
  ['stream_usage', /stream_options|include_usage/i],
  ['stream', /\bstream(ing|ed)?\b|流式/i],
  // Who takes text alone takes no images, which is what is sent most.
  ['images', /\bonly text\b|text[- ]only|\bcontent: input should be a valid string/i],
]
/**
 * That it can't: without such words a refusal may name a tool or an image that is wrong in itself. `expected text` is
 * what a server says that knows no other part of a message.
 */
const CANNOT =
  /(not|n't|un|never|only|no longer)[ -]?(be )?(currently |yet )?(support|allow|permit|enabl|avail|accept|implement|compatib|able to)|not (a |an )?(vision|multi-?modal|(valid|supported|known) (parameter|field|argument|response format|content type))|\bno (support|endpoints)|does not have|(can ?not|can't|unable to) (handle|process|accept|read|see|use|call|take|understand)|disabled|requires --|unknown (variant|parameter|field|argument|type)|unrecognized|unexpected (keyword|parameter|field)|extra (inputs|fields)|extra_forbidden|expected `?text|invalid content type|must be text|only text|at most 0\b|input should be a valid string|text.only|unavailable|unsupported|enabled only|only for|不支持|无法|仅支持|只支持|暂不/i
/** A model that only streams, or a part of a tool: no such lack. */
const OTHERWISE =
  /only supports? stream|non-?stream|(enable|must have|set) (the )?`?stream|stream`? (must|should) be true|unknown name/i

/**
 * What a refusal of one request says of the upstream; undefined where its words name nothing.
 * @param verdict of the refusal
 */
export function lessonIn(
  { message, code, type, param }: UpstreamErrorText,
  verdict: VerdictName,
  status: number,
): Lesson | undefined {
  if (verdict === 'tooLong') {
    const about = isAboutOutput(message) || AFFORDABLE.test(message) ? 'output' : 'context'
    return { about, limit: limitIn(message) }
  }
  if (status === 413 && verdict !== 'tooLarge') return { about: 'body' }
  const words = `${message}\n${code}\n${type}\n${param}`
  if (verdict !== 'refusedBody' || !CANNOT.test(words) || OTHERWISE.test(words)) return undefined
  const about = ABILITY_WORDS.find(([, named]) => named.test(words))?.[0]
  return about && { about }
}

const AFFORDABLE = /can only afford/i

const NUMBER = String.raw`([1-9]\d{0,2}(?:[,_]\d{3})+|\d+)`
/** Where the limit stands in a sentence; the first that fits is taken. */
const LIMITS = [
  String.raw`can only afford ${NUMBER}`,
  // `174167 + 64000 > 200000`, `23229 > 14796`; but not `max_tokens > 4096` of what was asked.
  String.raw`\d\)? ?(?:tokens )?> ?${NUMBER}`,
  String.raw`\[\d+, ?${NUMBER}\]`,
  String.raw`range (?:is|of|:)\D{0,12}\d+\D{1,24}${NUMBER}`,
  String.raw`\bbetween \d+ and ${NUMBER}`,
  // Before what was sent: `prompt length 9000 exceed max length 8192`.
  String.raw`(?:exceed\w{0,3} (?:the )?max(?:imum)? |\bmax_)(?:\w{1,20}[ _])?(?:length|len|tokens)(?: of| is)?\W{1,3}${NUMBER}(?!\d|\)? exceed)`,
  String.raw`(?:at most|no more than|less than(?: or equal to)?|maximum of|不能超过|不得超过|(?:not|n't|cannot) (?:be )?(?:exceed|(?:greater|larger|more|higher) than)|(?<!requested )up to|<=|≤)\D{0,24}${NUMBER}`,
  String.raw`(?:context|prompt|model)[ _-]?(?:length|window|size|token limit|limit)(?! by)\b\D{0,16}${NUMBER}`,
  String.raw`${NUMBER}(?: tokens?)? (?:maximum|allowed)`,
  String.raw`\ballowed\D{0,12}${NUMBER}`,
  String.raw`(?:maximum|max|limit)(?! by)\b\D{0,60}(?:is|of|:|=|are|was|allowed|size|limit)\W{0,3}${NUMBER}`,
  String.raw`(?:limit|threshold|上限|最大)\D{0,8}${NUMBER}`,
].map((source) => new RegExp(source, 'i'))

/** Nobody's context or output is smaller: such a number is that of something else. */
const LEAST_LIMIT = 64

/** MiniMax ends its sentences with the code of the error. */
const MINIMAX_CODE = /\((1039|2013)\)$/

/** Tokens that a refusal names as the most; undefined where it names none. */
function limitIn(message: string): number | undefined {
  const said = message.replace(MINIMAX_CODE, '')
  for (const pattern of LIMITS) {
    const limit = Number(pattern.exec(said)?.[1]?.replaceAll(/[,_]/g, '') ?? NaN)
    if (limit >= LEAST_LIMIT && limit < 1e9) return limit
  }
  return undefined
}
