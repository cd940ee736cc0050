import { applyEdits, modify } from 'jsonc-parser'
import { withoutMark } from './place.ts'
import { nodeAt, treeOf } from './source.ts'

/**
 * The same text with `token` as its `auth_token`. Other keys, their order, comments, line ends, indentation
 * and a byte order mark stay; where the key is missing it becomes the first one. Pure.
 *
 * @throws TypeError when the text holds no JSON object.
 */
export function withToken(text: string, token: string): string {
  const body = withoutMark(text)
  const mark = text.slice(0, text.length - body.length)
  const root = treeOf(body, [])
  if (root?.type !== 'object') throw new TypeError('the configuration is no JSON object')
  const present = nodeAt(root, ['auth_token'])
  if (present) {
    const end = present.offset + present.length
    return mark + body.slice(0, present.offset) + JSON.stringify(token) + body.slice(end)
  }
  const edits = modify(body, ['auth_token'], token, {
    formattingOptions: formattingOf(body),
    getInsertionIndex: () => 0,
  })
  return mark + applyEdits(body, edits)
}

function formattingOf(text: string) {
  const indentation = /^([ \t]+)\S/m.exec(text)?.[1] ?? '  '
  const insertSpaces = !indentation.startsWith('\t')
  return {
    insertSpaces,
    tabSize: insertSpaces ? indentation.length : 1,
    eol: text.includes('\r\n') ? '\r\n' : '\n',
  }
}
