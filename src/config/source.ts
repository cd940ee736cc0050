import { parseTree, printParseErrorCode, type Node, type ParseError } from 'jsonc-parser'
import { emptyBag } from '../lib/headers.ts'
import {
  DEEPEST,
  positionsIn,
  syntaxMessage,
  withoutByteOrderMark,
  type Path,
  type TextPosition,
} from './problem.ts'

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

/** The same with the text that it was, and what the parser made of it. */
export type ReadSource = Source & { readonly text: string; readonly root: Node | undefined }

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

/** The parser's code for a character that has no business where it stands; its enum has no value at run time here. */
const INVALID_CHARACTER = 16

/**
 * Reads JSON with comments and trailing commas; a byte order mark is skipped. Never throws: what can't
 * be read is in `syntaxErrors`, one for each line, and then `value` is what could be made of the rest.
 */
export function readSource(text: string): ReadSource {
  const body = withoutByteOrderMark(text)
  const positionAt = positionsIn(body)
  const errors: ParseError[] = []
  const duplicates: { path: Path; position: TextPosition }[] = []
  let root: Node | undefined
  let value: unknown
  try {
    root = parseTree(body, errors, { allowTrailingComma: true })
    value =
      root && valueOf(root, [], (path, key) => duplicates.push({ path, position: positionAt(key.offset) }))
  } catch (error) {
    // The parser is recursive too: a text of some thousand brackets ends its stack.
    if (!(error instanceof RangeError)) throw error
    errors.push({ error: INVALID_CHARACTER, offset: 0, length: 0 })
  }
  const found = errors.map(({ error, offset }) => ({
    position: positionAt(offset),
    message: syntaxMessage(body, offset, syntaxMessages[printParseErrorCode(error)] ?? 'not JSON'),
  }))
  return {
    text,
    root,
    value,
    positionOf: (path) => positionAt(root ? nearestNode(root, path).offset : 0),
    duplicates,
    syntaxErrors: found.filter(({ position }, at) => position.line !== found[at - 1]?.position.line),
  }
}

function nearestNode(root: Node, [step, ...below]: Path): Node {
  const child = step === undefined ? undefined : childOf(root, step)
  return child ? nearestNode(child, below) : root
}

/** The last one where a key stands twice. */
function childOf({ type, children = [] }: Node, step: string | number): Node | undefined {
  if (typeof step === 'number') return type === 'array' ? children[step] : undefined
  if (type !== 'object') return undefined
  return children.findLast((property) => property.children?.[0]?.value === step)?.children?.[1]
}

/** @param path of the node; grows and shrinks on the way. @throws RangeError for what is nested too deeply */
function valueOf(
  node: Node,
  path: (string | number)[],
  onDuplicate: (path: Path, key: Node) => void,
): unknown {
  if (path.length > DEEPEST) throw new RangeError('too deep')
  const { type, children = [] } = node
  function valueAt(step: string | number, child: Node): unknown {
    path.push(step)
    const value = valueOf(child, path, onDuplicate)
    path.pop()
    return value
  }
  if (type === 'array') return children.map((child, at) => valueAt(at, child))
  if (type !== 'object') return node.value
  const object = emptyBag<unknown>()
  for (const { children: [key, value] = [] } of children) {
    if (key === undefined || value === undefined) continue
    const name = String(key.value)
    if (name in object) onDuplicate([...path, name], key)
    object[name] = valueAt(name, value)
  }
  return object
}
