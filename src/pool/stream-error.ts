type Fields = Readonly<Record<string, unknown>>

/** An event with one of these holds content, whatever else it says. */
const contents = ['choices', 'data', 'output', 'text', 'results', 'delta', 'response', 'item', 'part']

/**
 * The error that an event of a stream is, as JSON or as the text that came instead; undefined for a real event.
 *
 * Errors are: `event: error`; `response.failed` (also without an error in it, as Azure sends it); an `error` that
 * is not null, alone or in a chunk that ends for it (OpenRouter's `finish_reason: "error"`); vLLM's
 * `{"object":"error"}`; Cloudflare's `success: false`; and flat objects of a message with a code and no content.
 *
 * @param event the `event:` field, empty when there is none
 */
export function errorIn(event: string, data: string): unknown {
  const value = parsed(data)
  if (event === 'error') return value ?? data
  const fields = fieldsOf(Array.isArray(value) ? value[0] : value)
  if (fields === undefined) return undefined
  return isError(event, fields) ? fields : undefined
}

function isError(event: string, fields: Fields): boolean {
  const { type, object, error, success } = fields
  if (event === 'response.failed' || type === 'response.failed' || type === 'error' || object === 'error')
    return true
  if (endsInError(fields['choices'])) return true
  if (contents.some((name) => fields[name] !== undefined && !isEmptyList(fields[name]))) return false
  if (isSaying(error) || success === false) return true
  return (
    typeof fields['message'] === 'string' && ['code', 'status', 'status_code'].some((name) => name in fields)
  )
}

function endsInError(choices: unknown): boolean {
  return Array.isArray(choices) && choices.some((choice) => fieldsOf(choice)?.['finish_reason'] === 'error')
}

const isEmptyList = (value: unknown): boolean => Array.isArray(value) && value.length === 0

const isSaying = (error: unknown): boolean =>
  (typeof error === 'string' && error !== '') || fieldsOf(error) !== undefined

function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}
