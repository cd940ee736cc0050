import type { HeaderBag } from '../lib/headers.ts'
import { isSpelt, jsonShape } from '../lib/json-shape.ts'

/**
 * Why a success is none: `nothing` at all, a `page` of a proxy, `junk` that is not JSON where JSON is due, an
 * `error` and nothing beside it, or an answer that is `cut`.
 */
export type Flaw = 'nothing' | 'page' | 'junk' | 'error' | 'cut'

/** With one of these beside it, an `error` is a remark and not the answer. */
const contents = ['choices', 'data', 'output', 'text', 'results']
const looked = ['error', 'success', 'object', ...contents]

/**
 * Looks at a success: undefined when it is plausible.
 *
 * JSON, also without a type, has to be one whole object that is not only an error. Of a stream and of any other
 * type (audio, images, plain text) it is enough that there is something.
 *
 * @param body the whole body; undefined = not read, so that only the type is judged
 */
export function implausible(headers: HeaderBag, body: Uint8Array | undefined): Flaw | undefined {
  const type = headers['content-type']?.toLowerCase() ?? ''
  if (type.includes('html')) return 'page'
  if (body === undefined) return undefined
  const isJson = type === '' || /[/+]json\b/.test(type)
  if (!isJson) return isBlank(body) ? 'nothing' : undefined
  const shape = jsonShape(body, looked)
  if (shape.kind === 'empty') return 'nothing'
  if (shape.kind === 'truncated') return 'cut'
  if (shape.kind === 'other') return otherFlaw(body)
  const [error = -1, success = -1, object = -1, ...content] = shape.places
  if (content.some((place) => place >= 0)) return undefined
  const hasError = error >= 0 && !isSpelt(body, error, 'null')
  const isError = hasError || isSpelt(body, success, 'false') || isSpelt(body, object, '"error"')
  return isError ? 'error' : undefined
}

/** Something else than an object where JSON is due: a page, a stream under the wrong name, a list of errors. */
function otherFlaw(body: Uint8Array): Flaw | undefined {
  const start = new TextDecoder().decode(body.subarray(0, 200)).trimStart()
  if (start.startsWith('<')) return 'page'
  if (/^(data|event|id|retry)?:/.test(start)) return undefined
  return /^\[\s*\{\s*"error"/.test(start) ? 'error' : 'junk'
}

function isBlank(body: Uint8Array): boolean {
  return body.length < 4_096 && new TextDecoder().decode(body).trim() === ''
}
