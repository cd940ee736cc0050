import { STATUS_CODES } from 'node:http'
import { IS_FIELD_VALUE, IS_TOKEN } from './node-http-fields.ts'

/** How an answer tells where its body ends: not at all, by a number of bytes, by chunks, or with its connection. */
export type Framing = { readonly bytes: number } | 'none' | 'chunks' | 'until-close'

/** Headers of an answer, as plain data. */
export type AnswerFields = Readonly<Record<string, string | number | readonly string[]>>

/** For how long a connection waits for its next request; told to every client. */
export const KEEP_ALIVE_S = 65
const KEPT = `connection: keep-alive\r\nkeep-alive: timeout=${KEEP_ALIVE_S}\r\n`
const CLOSED = 'connection: close\r\n'
/** These follow from the connection and the body. */
const OWN_NAMES = /^(?:connection|keep-alive|content-length|transfer-encoding|date)$/i

/**
 * The head of an answer with its blank line.
 *
 * @throws TypeError for a name or a value that HTTP does not allow; it does not quote it
 */
export function answerHeadText(
  status: number,
  fields: AnswerFields,
  { framing, isKept }: { readonly framing: Framing; readonly isKept: boolean },
): string {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`
  for (const name in fields) {
    const value = fields[name]
    if (value === undefined || OWN_NAMES.test(name)) continue
    if (typeof value === 'object') for (const one of value) text += fieldLine(name, one)
    else text += fieldLine(name, String(value))
  }
  text += `date: ${httpDate()}\r\n${isKept ? KEPT : CLOSED}`
  if (framing === 'chunks') return `${text}transfer-encoding: chunked\r\n\r\n`
  if (typeof framing === 'object') return `${text}content-length: ${framing.bytes}\r\n\r\n`
  return `${text}\r\n`
}

function fieldLine(name: string, value: string): string {
  if (!IS_TOKEN.test(name) || !IS_FIELD_VALUE.test(value))
    throw new TypeError('a header of the answer has characters that HTTP does not allow')
  return `${name}: ${value}\r\n`
}

/** Whether the application wants the connection to end behind its answer. */
export function asksToClose(fields: AnswerFields): boolean {
  for (const name in fields)
    if (name.toLowerCase() === 'connection') return String(fields[name]).toLowerCase() === 'close'
  return false
}

let dateText = ''
let dateSecond = -1

/** RFC 9110 §5.6.7; made once a second. */
function httpDate(): string {
  const now = Date.now()
  const second = Math.floor(now / 1000)
  if (second !== dateSecond) {
    dateSecond = second
    dateText = new Date(now).toUTCString()
  }
  return dateText
}
