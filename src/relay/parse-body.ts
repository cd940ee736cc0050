import { GatewayError } from '../errors.ts'
import { replaceField, scanTopLevel, type JsonScan } from '../lib/json-field.ts'
import { JsonSyntaxError } from '../lib/json-syntax.ts'
import { stringValue } from '../lib/json-value.ts'
import { findFormField, replaceFormField } from '../lib/multipart-field.ts'
import { MultipartError } from '../lib/multipart-frame.ts'
import { utf8Of } from '../lib/short-text.ts'
import { AFFINITY_FIELDS } from './affinity-key.ts'
import { ESTIMATE_FIELDS } from './estimate.ts'

/** A request body, read once. */
export interface ParsedBody {
  /** The model that the client named; empty = none. */
  readonly model: string
  readonly stream: boolean
  /** Undefined for multipart. */
  readonly scan: JsonScan | undefined
  /** The same bytes with another model name, in parts to be sent one after the other. */
  readonly withModel: (model: string) => readonly Uint8Array[]
}

const WANTED = ['model', 'stream', ...ESTIMATE_FIELDS, ...AFFINITY_FIELDS]

/**
 * Checks a body and finds its model. Anything that is not multipart is read as JSON.
 *
 * @throws GatewayError `invalid_json`, `invalid_model` or `invalid_multipart`
 */
export function parseBody(bytes: Uint8Array, contentType: string): ParsedBody {
  return /^\s*multipart\//i.test(contentType) ? parseMultipart(bytes, contentType) : parseJson(bytes)
}

function parseJson(bytes: Uint8Array): ParsedBody {
  const scan = scanned(bytes)
  return {
    model: modelOf(scan),
    stream: scan.fields.get('stream')?.at(-1)?.kind === 'true',
    scan,
    withModel: (model) => replaceField(scan, 'model', utf8Of(JSON.stringify(model))),
  }
}

function scanned(bytes: Uint8Array): JsonScan {
  try {
    return scanTopLevel(bytes, WANTED)
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error
    const what =
      bytes.length === 0
        ? 'The body is empty; it must be a JSON object.'
        : `The body is not usable JSON: ${error.message}.`
    throw new GatewayError('invalid_json', what)
  }
}

/** All occurrences are replaced; the last one is what parsers go by. */
function modelOf(scan: JsonScan): string {
  const spans = scan.fields.get('model') ?? []
  const other = spans.find(({ kind }) => kind !== 'string' && kind !== 'null')
  if (other !== undefined) {
    throw new GatewayError('invalid_model', `\`model\` must be a string, not ${named(other.kind)}.`, {
      param: 'model',
    })
  }
  const last = spans.at(-1)
  return last === undefined || last.kind === 'null' ? '' : stringValue(scan.bytes, last)
}

function named(kind: string): string {
  if (kind === 'true' || kind === 'false') return 'a boolean'
  return kind === 'object' || kind === 'array' ? `an ${kind}` : `a ${kind}`
}

function parseMultipart(bytes: Uint8Array, contentType: string): ParsedBody {
  try {
    const field = findFormField(bytes, contentType, 'model')
    return {
      model: field.value ?? '',
      // What comes back says by its type whether it is a stream; a form is not searched twice for that.
      stream: false,
      scan: undefined,
      withModel: (model) => replaceFormField(field, model),
    }
  } catch (error) {
    if (!(error instanceof MultipartError)) throw error
    throw new GatewayError('invalid_multipart', `The multipart body is not usable: ${error.message}.`)
  }
}
