import { applyEdits, modify, parseTree, printParseErrorCode, type Node, type ParseError } from 'jsonc-parser'
import { positionsIn, withoutByteOrderMark, type Path, type TextPosition } from './problem.ts'

// The parser's code for a character that has no business where it stands; its enum has no value at run time here.
const invalidCharacter = 16

/** A configuration text that was read: its value and where each part of it stands. */
export interface Source {
  /** Objects have no prototype, so that keys such as `__proto__` are keys like any other. */
  readonly value: unknown
  /** Where the value at `path` begins; for a missing one the nearest part above it that is there. */
  readonly positionOf: (path: Path) => TextPosition
  /** Keys that stand a second time in their object; the last one counts. */
  readonly duplicates: readonly { readonly path: Path; readonly position: TextPosition }[]
  readonly syntaxErrors: readonly { readonly position: TextPosition; readonly message: string }[]
}

const syntaxMessages: Readonly<Record<string, string>> = {
  InvalidSymbol: 'a word that JSON does not know',
  InvalidNumberFormat: 'not a number as JSON writes them',
  PropertyNameExpected: 'a key in double quotes is expected here',
  ValueExpected: 'a value is expected here',
  ColonExpected: 'a colon is missing here',
  CommaExpected: 'a comma is missing here',
  CloseBraceExpected: 'a closing } is missing',
  CloseBracketExpected: 'a closing ] is missing',
  EndOfFileExpected: 'something follows after the end of the configuration',
  InvalidCommentToken: 'a comment begins with // or /*',
  UnexpectedEndOfComment: 'a comment does not end',
  UnexpectedEndOfString: 'a text in quotes does not end on its line',
  UnexpectedEndOfNumber: 'a number is not complete',
  InvalidUnicode: 'a \\u escape needs four hexadecimal digits',
  InvalidEscapeCharacter: 'an escape that JSON does not know; a backslash itself is written \\\\',
  InvalidCharacter: 'a character that JSON does not allow here',
}

/**
 * Reads JSON with comments and trailing commas; a byte order mark is skipped. Never throws: what can't
 * be read is in `syntaxErrors`, one for each line, and then `value` is what could be made of the rest.
 */
export function readSource(text: string): Source {
  const body = withoutByteOrderMark(text)
  const errors: ParseError[] = []
  const positionAt = positionsIn(body)
  const root = treeOf(body, errors)
  const duplicates: { path: Path; position: TextPosition }[] = []
  const value =
    root && treeValue(root, (path, node) => duplicates.push({ path, position: positionAt(node.offset) }))
  if (value === TOO_DEEP) errors.push({ error: invalidCharacter, offset: 0, length: 0 })
  const found = errors.map(({ error, offset }) => ({
    position: positionAt(offset),
    message: syntaxMessages[printParseErrorCode(error)] ?? 'not JSON',
  }))
  return {
    value: value === TOO_DEEP ? undefined : value,
    positionOf: (path) => positionAt(nearestNode(root, path)?.offset ?? 0),
    duplicates,
    syntaxErrors: found.filter(({ position }, at) => position.line !== found[at - 1]?.position.line),
  }
}

/** The node of a value, the last one where a key stands twice; undefined when it is not there. */
function nodeAt(root: Node | undefined, path: Path): Node | undefined {
  return path.reduce<Node | undefined>((node, step) => node && childOf(node, step), root)
}

/** The tree of a text, undefined when there is none. `errors` is filled. */
function treeOf(text: string, errors: ParseError[]): Node | undefined {
  try {
    return parseTree(text, errors, { allowTrailingComma: true })
  } catch (error) {
    // The parser is recursive: a text of some thousand brackets ends its stack.
    if (!(error instanceof RangeError)) throw error
    errors.push({ error: invalidCharacter, offset: 0, length: 0 })
    return undefined
  }
}

function nearestNode(root: Node | undefined, path: Path): Node | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const node = nodeAt(root, path.slice(0, length))
    if (node) return node
  }
  return root
}

function childOf(node: Node, step: string | number): Node | undefined {
  if (typeof step === 'number') return node.type === 'array' ? node.children?.[step] : undefined
  if (node.type !== 'object') return undefined
  return node.children?.findLast((property) => property.children?.[0]?.value === step)?.children?.[1]
}

type OnDuplicate = (path: Path, key: Node) => void

/** A configuration is five levels deep; some thousand would end the stack of those who walk through it. */
const DEEPEST = 100
const TOO_DEEP = Symbol('too deep')

/** `TOO_DEEP` where it is nested too deeply. */
function treeValue(node: Node, onDuplicate: OnDuplicate): unknown {
  return depthOf(node) > DEEPEST ? TOO_DEEP : valueAt(node, onDuplicate, [])
}

/** Counted without recursion, level by level, and no further than it matters. */
function depthOf(root: Node): number {
  let depth = 0
  for (let level = [root]; level.length > 0 && depth <= 2 * DEEPEST + 1; depth++)
    level = level.flatMap(({ children = [] }) => children)
  // A property is a level of its own.
  return depth / 2
}

function valueAt(node: Node, onDuplicate: OnDuplicate, path: Path): unknown {
  const children = node.children ?? []
  if (node.type === 'array') return children.map((child, at) => valueAt(child, onDuplicate, [...path, at]))
  if (node.type !== 'object') return node.value
  const object = Object.create(null) as Record<string, unknown>
  for (const { children: [key, value] = [] } of children) {
    if (key === undefined || value === undefined) continue
    const name = String(key.value)
    const here = [...path, name]
    if (name in object) onDuplicate(here, key)
    object[name] = valueAt(value, onDuplicate, here)
  }
  return object
}

/**
 * The same text with `token` as its `auth_token`. Other keys, their order, comments, line ends, indentation
 * and a byte order mark stay; where the key is missing it becomes the first one. Pure.
 *
 * @throws TypeError when the text holds no JSON object.
 */
export function withToken(text: string, token: string): string {
  const body = withoutByteOrderMark(text)
  const mark = text.slice(0, text.length - body.length)
  const root = treeOf(body, [])
  if (root?.type !== 'object') throw new TypeError('the configuration is not a JSON object')
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
