import type { Node } from 'jsonc-parser'
import { recordOf, withoutByteOrderMark } from './problem.ts'
import { readSource, type ReadSource } from './source.ts'

/*
 * Changes in the text of a configuration that leave all the rest of it as people wrote it: comments, order, line ends,
 * indentation, commas behind the last item.
 */

/**
 * The same text with `value` in the place of what it reads as now. Items of lists that are the very same object, or else
 * the same value, bring along the comments that belong to them: those in front without an empty line between, and those
 * behind on the same line. Other comments stay where they stand. Pure.
 *
 * @throws TypeError when the text holds no JSON object
 */
export function rewritten({ text, root, value: before }: ReadSource, value: unknown): string {
  const body = withoutByteOrderMark(text)
  if (root?.type !== 'object') throw new TypeError('the configuration is not a JSON object')
  const unit = /^([ \t]+)\S/m.exec(body)?.[1] ?? '  '
  const style: Style = {
    unit: unit.startsWith('\t') ? '\t' : unit,
    eol: body.includes('\r\n') ? '\r\n' : '\n',
  }
  const start = text.length - body.length + root.offset
  return (
    text.slice(0, start) +
    merged({ body, node: root, before, value, indent: '', style }) +
    text.slice(start + root.length)
  )
}

/**
 * The same text with `token` as its `auth_token`; where the key is missing it becomes the first one. Pure.
 *
 * @throws TypeError when the text holds no JSON object
 */
export function withToken(text: string, token: string): string {
  const source = readSource(text)
  const filled = { auth_token: token }
  return rewritten(source, { ...filled, ...recordOf(source.value), ...filled })
}

/** How the file is written. */
interface Style {
  /** One level of indentation. */
  readonly unit: string
  readonly eol: string
}

interface Change {
  readonly body: string
  readonly node: Node
  readonly before: unknown
  readonly value: unknown
  /** Of the line in which the value begins. */
  readonly indent: string
  readonly style: Style
}

/** The text of a value with what changed in it. */
function merged(change: Change): string {
  const { body, node, before, value, indent, style } = change
  if (isSame(before, value)) return body.slice(node.offset, node.offset + node.length)
  if (node.type === 'object' && isRecord(value)) return mergedObject(change, value)
  if (node.type === 'array' && Array.isArray(value)) return mergedList(change, value)
  return formatted(value, { indent, style })
}

function mergedObject(change: Change, value: Readonly<Record<string, unknown>>): string {
  const { node, body, before, indent, style } = change
  const list = listIn(change)
  const known = recordOrNothing(before)
  const names = (node.children ?? []).map((property) => String(property.children?.[0]?.value))
  const inner = innerIndent(list, change)
  const kept = list.items.flatMap((item, at) => {
    const name = names[at] ?? ''
    const [key, own] = node.children?.[at]?.children ?? []
    if (key === undefined || own === undefined || !Object.hasOwn(value, name)) return []
    // Where a key stands twice the last one counts.
    if (names.lastIndexOf(name) !== at) return [{ name, item, slot: at }]
    const part = { ...change, node: own, before: known[name], value: value[name], indent: inner }
    return [{ name, item: { ...item, text: body.slice(key.offset, own.offset) + merged(part) }, slot: at }]
  })
  const entries: Placed[] = kept
  const wanted = Object.keys(value)
  for (const [at, name] of wanted.entries()) {
    if (names.includes(name)) continue
    const previous = wanted[at - 1]
    const place = previous === undefined ? 0 : entries.findLastIndex((entry) => entry.name === previous) + 1
    const text = `${JSON.stringify(name)}: ${formatted(value[name], { indent: inner, style })}`
    entries.splice(place, 0, { name, item: newItem(text) })
  }
  return rendered({ ...list, close: '}' }, entries, { inner, indent, style })
}

function mergedList(change: Change, value: readonly unknown[]): string {
  const { node, before, indent, style } = change
  const list = listIn(change)
  const old: readonly unknown[] = Array.isArray(before) ? before : []
  const inner = innerIndent(list, change)
  const left = new Set(list.items.keys())
  /** Where each of the old ones stands, the first place last. */
  const places = new Map<unknown, number[]>()
  for (const at of [...left].toReversed()) {
    const own = places.get(old[at])
    if (own === undefined) places.set(old[at], [at])
    else own.push(at)
  }
  /** For each of the new items the old one that it is. */
  const sources = value.map((item) => places.get(item)?.pop())
  for (const at of sources) if (at !== undefined) left.delete(at)
  for (const [nth, item] of value.entries()) {
    if (sources[nth] !== undefined) continue
    const same = [...left].find((at) => isSame(old[at], item))
    if (same === undefined) continue
    sources[nth] = same
    left.delete(same)
  }
  /** Whether those that are there are spread over lines. */
  const isOpen = list.items.some(({ text }) => hasBreak(text))
  const isOneChanged = left.size === 1 && old.length === value.length
  const entries = value.map((item, nth): Placed => {
    const from = sources[nth] ?? (isOneChanged ? [...left][0] : undefined)
    const [own, child] = from === undefined ? [] : [list.items[from], node.children?.[from]]
    if (from === undefined || own === undefined || child === undefined)
      return { item: newItem(formatted(item, { indent: inner, style, isOpen })) }
    const text = merged({ ...change, node: child, before: old[from], value: item, indent: inner })
    return { item: { ...own, text }, slot: from }
  })
  return rendered({ ...list, close: ']' }, entries, { inner, indent, style })
}

/** What stands between two brackets, cut so that its items can be moved. */
interface ItemList {
  readonly open: string
  /** Behind the opening bracket, to the end of that line. */
  readonly head: string
  readonly items: readonly Item[]
  /** Whether a comma stands behind the last item. */
  readonly isTrailing: boolean
  /** In front of the closing bracket. */
  readonly tail: string
}

interface Item {
  /** White space, and comments that stand for themselves: they stay when the item moves. */
  readonly before: string
  /** Comments in front of it that go with it. */
  readonly lead: string
  readonly text: string
  /** Between it and its comma. */
  readonly mid: string
  /** Comments behind it on the same line. */
  readonly after: string
}

/** `slot`: where the item stood. */
interface Placed {
  readonly item: Item
  readonly slot?: number
  readonly name?: string
}

const newItem = (text: string): Item => ({ before: '', lead: '', text, mid: '', after: '' })

function listIn({ body, node }: Change): ItemList {
  const children = node.children ?? []
  const end = node.offset + node.length - 1
  const [first] = children
  const opening = body.slice(node.offset + 1, first?.offset ?? end)
  const [head, rest] = first === undefined ? ['', opening] : sameLine(opening)
  let front = split(rest)
  let isTrailing = false
  let tail = first === undefined ? rest : ''
  const items = children.map((child, at): Item => {
    const next = children[at + 1]
    const [mid, behind] = atComma(body.slice(child.offset + child.length, next?.offset ?? end))
    const hasComma = mid !== undefined
    const [after, left] = sameLine(behind, next === undefined)
    const item = {
      ...front,
      text: body.slice(child.offset, child.offset + child.length),
      mid: mid ?? '',
      after,
    }
    if (next === undefined) {
      isTrailing = hasComma
      tail = left
    } else front = split(left)
    return item
  })
  return { open: body.slice(node.offset, node.offset + 1), head, items, isTrailing, tail }
}

/** White space, comments and commas, one after the other. */
const TRIVIA = /\/\/[^\r\n]*|\/\*[^]*?\*\/|,|[^/,]+/g
const piecesOf = (gap: string): string[] => gap.match(TRIVIA) ?? []
const isComment = (piece: string): boolean => piece.startsWith('/')

/** What stands before the comma and behind it. */
function atComma(gap: string): [mid: string | undefined, behind: string] {
  const pieces = piecesOf(gap)
  const comma = pieces.indexOf(',')
  if (comma < 0) return [undefined, gap]
  return [pieces.slice(0, comma).join(''), pieces.slice(comma + 1).join('')]
}

/** The comments that are followed by the end of their line, and what comes then. @param isLast whether a bracket may follow too */
function sameLine(gap: string, isLast = false): [own: string, rest: string] {
  const own = /^(?:[ \t]*\/\*[^]*?\*\/)*(?:[ \t]*\/\/[^\r\n]*)?/.exec(gap)?.[0] ?? ''
  const rest = gap.slice(own.length)
  return /^[ \t]*[\r\n]/.test(rest) || (isLast && rest.trim() === '') ? [own, rest] : ['', gap]
}

/** Comments go with the item behind them, where no empty line is between. */
function split(gap: string): Pick<Item, 'before' | 'lead'> {
  const pieces = piecesOf(gap)
  const own = pieces.findLastIndex(
    (piece, at) => !isComment(piece) && (at === 0 || /\n[ \t]*\r?\n/.test(piece)),
  )
  const lead = pieces.slice(own + 1).join('')
  return lead === '' ? { before: gap, lead: '' } : { before: pieces.slice(0, own + 1).join(''), lead }
}

const hasBreak = (text: string): boolean => /[\r\n]/.test(text)
const isMultiLine = ({ items, tail }: ItemList): boolean =>
  items.length === 0 ? hasBreak(tail) : items.some(({ before }) => hasBreak(before))

function innerIndent(list: ItemList, { indent, style }: Change): string {
  const before = list.items.find((item) => hasBreak(item.before))?.before
  return before === undefined ? indent + style.unit : (/[ \t]*$/.exec(before)?.[0] ?? '')
}

interface Layout {
  readonly inner: string
  readonly indent: string
  readonly style: Style
}

function rendered(
  list: ItemList & { readonly close: string },
  entries: readonly Placed[],
  layout: Layout,
): string {
  const { open, head, items, isTrailing, tail, close } = list
  const { inner, indent, style } = layout
  const isOnLines = isMultiLine(list) || (items.length === 0 && entries.length > 0 && indent === '')
  const fresh = isOnLines ? style.eol + inner : ' '
  const slots = entries.map((entry) => entry.slot).filter((slot) => slot !== undefined)
  const left = new Set(slots)
  const gone = items.map(({ before }, slot) => (left.has(slot) ? '' : before))
  // Where all that was there is there, in whatever order, places keep what stands in front of them.
  const places = slots.toSorted((a, b) => a - b)
  let text = open
  let isLineComment = false
  /** @param isTrivia whether it may end in a comment */
  const add = (piece: string, isTrivia = false): void => {
    if (piece === '') return
    if (isLineComment && !/^[\r\n]/.test(piece)) text += style.eol
    text += piece
    isLineComment =
      isTrivia &&
      /^\s*\/\//.test(piecesOf(piece).findLast((part) => part.trim() !== '') ?? '') &&
      !/[\r\n]\s*$/.test(piece)
  }
  // Comments in brackets without items.
  add(items.length === 0 && entries.length > 0 ? tail.trimEnd() : head, true)
  let passed = 0
  const leaveComments = (until: number): void => {
    for (; passed < until; passed += 1)
      if (gone[passed]?.includes('/')) add(gone[passed]?.trimEnd() ?? '', true)
  }
  for (const [at, { item, slot }] of entries.entries()) {
    const place = slot === undefined ? undefined : places.shift()
    if (place !== undefined) leaveComments(place)
    const own = place === undefined ? undefined : items[place]?.before
    // The first of a line stands close to the bracket, or has a blank; the others have one.
    const usual = own ?? (at === 0 && !isOnLines ? (items[0]?.before ?? ' ') : fresh)
    add(at > 0 && usual === '' && place === 0 ? fresh : usual)
    add(item.lead)
    add(item.text)
    add(item.mid, true)
    if (at < entries.length - 1 || isTrailing) add(',')
    add(item.after, true)
  }
  leaveComments(gone.length)
  const ending = items.length > 0 ? tail : isOnLines ? style.eol + indent : ' '
  add(entries.length > 0 ? ending : tail)
  add(close)
  return text
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const recordOrNothing = (value: unknown): Readonly<Record<string, unknown>> => (isRecord(value) ? value : {})

/** Whether two values of JSON are the same; the order of keys does not matter. */
export function isSame(one: unknown, other: unknown): boolean {
  if (one === other) return true
  if (Array.isArray(one) || Array.isArray(other))
    return (
      Array.isArray(one) &&
      Array.isArray(other) &&
      one.length === other.length &&
      one.every((item, at) => isSame(item, other[at]))
    )
  if (!isRecord(one) || !isRecord(other)) return false
  const names = Object.keys(one)
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => Object.hasOwn(other, name) && isSame(one[name], other[name]))
  )
}

/** Of a line, in characters. */
const WIDTH = 100

interface Surroundings {
  readonly indent: string
  readonly style: Style
  /** Whether it is spread over lines though it fits on one. */
  readonly isOpen?: boolean
}

/** A value as people write it: on one line where it fits. */
function formatted(value: unknown, { indent, style, isOpen = false }: Surroundings): string {
  const line = lineOf(value)
  const fits = indent.length + line.length <= WIDTH && !isOpen
  if (typeof value !== 'object' || value === null || fits || /^[[{][\]}]$/.test(line)) return line
  const inner = indent + style.unit
  const parts = Array.isArray(value)
    ? value.map((item) => formatted(item, { indent: inner, style }))
    : Object.entries(value).map(
        ([name, item]) => `${JSON.stringify(name)}: ${formatted(item, { indent: inner, style })}`,
      )
  const [open, close] = Array.isArray(value) ? '[]' : '{}'
  return `${open}${style.eol}${inner}${parts.join(`,${style.eol}${inner}`)}${style.eol}${indent}${close}`
}

function lineOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(lineOf).join(', ')}]`
  if (!isRecord(value)) return JSON.stringify(value)
  const members = Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${lineOf(item)}`)
  return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`
}
