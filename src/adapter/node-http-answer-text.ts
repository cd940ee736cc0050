import { STATUS_CODES } from 'node:http'
import { areFields } from './node-http-fields.ts'

/** How an answer tells where its body ends: not at all, by a number of bytes, by chunks, or with its connection. */
export type Framing = { readonly bytes: number } | 'none' | 'chunks' | 'until-close'

/** Headers of an answer, as plain data. */
export type AnswerFields = Readonly<Record<string, string | number | readonly string[]>>

/** What follows from the connection and the body. */
export interface HeadEnd {
  readonly framing: Framing
  readonly isKept: boolean
}

/** For how long a connection waits for its next request; told to every client. */
export const KEEP_ALIVE_S = 65
const KEPT = `connection: keep-alive\r\nkeep-alive: timeout=${KEEP_ALIVE_S}\r\n`
const CLOSED = 'connection: close\r\n'
/** The server's own. */
const OWN_NAMES: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'content-length',
  'transfer-encoding',
  'date',
])

/**
 * The head of an answer with its blank line. Of the application's `connection` header only `close` counts; see
 * `asksToClose`.
 *
 * @throws TypeError for a name or a value that HTTP does not allow; it does not quote it
 */
export function answerHeadText(status: number, fields: AnswerFields, { framing, isKept }: HeadEnd): string {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`
  let names = ''
  let values = ''
  for (const name in fields) {
    if (OWN_NAMES.has(name) || OWN_NAMES.has(name.toLowerCase())) continue
    const given = fields[name] ?? ''
    names += name
    for (const value of typeof given === 'object' ? given : [given]) {
      values += value
      text += `${name}: ${value}\r\n`
    }
  }
  if (!areFields(names, values))
    throw new TypeError('a header of the answer has characters that HTTP does not allow')
  text += `date: ${httpDate()}\r\n${isKept ? KEPT : CLOSED}`
  if (framing === 'chunks') return `${text}transfer-encoding: chunked\r\n\r\n`
  if (typeof framing === 'object') return `${text}content-length: ${framing.bytes}\r\n\r\n`
  return `${text}\r\n`
}

/** Whether the application wants the connection to end behind its answer. */
export function asksToClose(fields: AnswerFields): boolean {
  return fields['connection'] === 'close'
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
