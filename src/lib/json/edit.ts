import { bytesBetween, lengthOf, utf8Bytes } from '../bytes.ts'
import type { FieldSpan, JsonScan } from './scan.ts'
import { afterSpace, CLOSE_BRACE, COMMA, OPEN_BRACE, OPEN_BRACKET, QUOTE } from './walk.ts'

/** What becomes of a member of a top-level object. Its bytes are made once and go into every document. */
export type MemberEdit = ValueEdit | RenameEdit | { /** It goes, with its comma. */ readonly kind: 'drop' }

/** It gets this value, in each place where it stands; `default`: only where it is absent. */
interface ValueEdit {
  readonly kind: 'set' | 'default'
  readonly json: Uint8Array
  readonly member: Uint8Array
}

/** Its key changes. Where the new name stands already, that one stays and this one goes. */
interface RenameEdit {
  readonly kind: 'rename'
  readonly to: string
  readonly key: Uint8Array
}

/**
 * Edits by the name of the member. Renames come first, and `set` and `default` know only the new names. No two become
 * one name, and none becomes one that is renamed or dropped itself.
 */
export type MemberEdits = ReadonlyMap<string, MemberEdit>

/** @param value anything that JSON has a word for */
export function valueEdit(kind: ValueEdit['kind'], name: string, value: unknown): ValueEdit {
  const json = JSON.stringify(value)
  return { kind, json: utf8Bytes(json), member: utf8Bytes(`${JSON.stringify(name)}:${json}`) }
}

export const renameEdit = (to: string): RenameEdit => ({
  kind: 'rename',
  to,
  key: utf8Bytes(JSON.stringify(to)),
})

/** All names that a scan has to look for: those that are edited, and those that they become. */
export const namesIn = (edits: MemberEdits): string[] =>
  [...edits].flatMap(([name, edit]) => (edit.kind === 'rename' ? [name, edit.to] : [name]))

/** The bytes from `start` to `end` give way to `parts`. */
interface Splice {
  readonly start: number
  readonly end: number
  readonly parts: readonly Uint8Array[]
}

const A_COMMA = utf8Bytes(',')

/**
 * The document with `jsonValue` as the value of every top-level `name`, in parts to be sent one after the other.
 *
 * Parts are views of the scanned bytes and of `jsonValue`, which has to be a JSON value itself; nothing is copied.
 * An absent field becomes the first key. `name` is one of those that the scan was asked for.
 */
export function replaceField(scan: JsonScan, name: string, jsonValue: Uint8Array): Uint8Array[] {
  const spans = scan.fields.get(name)
  if (spans !== undefined) return spliced(scan, spans.map(giving(jsonValue)))
  const key = utf8Bytes(`${JSON.stringify(name)}:`)
  const start = scan.objectStart + 1
  const parts = scan.isEmptyObject ? [key, jsonValue] : [key, jsonValue, A_COMMA]
  return spliced(scan, [{ start, end: start, parts }])
}

const giving =
  (part: Uint8Array) =>
  ({ start, end }: FieldSpan): Splice => ({ start, end, parts: [part] })

/**
 * The document with its members edited, in such parts: all other bytes stay as they are. Members that are new become the
 * first ones. The scan has looked for `namesIn(edits)`.
 *
 * With it what a scan of the edited document would find, for reading: its fields and its length. Values that edits bring
 * along stand behind its pieces. What was counted all over the document (files, escapes, words) stays as it was.
 */
export function editDocument(scan: JsonScan, edits: MemberEdits): { parts: Uint8Array[]; scan: JsonScan } {
  const fields = new Map(scan.fields)
  const splices: Splice[] = []
  const dropped: FieldSpan[] = []
  for (const [name, edit] of edits) {
    const spans = scan.fields.get(name)
    if (spans === undefined || 'json' in edit) continue
    fields.delete(name)
    if (edit.kind === 'drop' || scan.fields.has(edit.to)) {
      dropped.push(...spans)
      continue
    }
    fields.set(edit.to, spans)
    for (const { keyStart, keyEnd } of spans)
      splices.push({ start: keyStart, end: keyEnd, parts: [edit.key] })
  }
  const added: Uint8Array[] = []
  const pieces = [...scan.pieces]
  let end = scan.length
  for (const [name, edit] of edits) {
    const spans = fields.get(name)
    if (!('json' in edit) || (edit.kind === 'default' && spans !== undefined)) continue
    if (spans === undefined) added.push(edit.member)
    else splices.push(...spans.map(giving(edit.json)))
    const start = end
    end += edit.json.length
    pieces.push(edit.json)
    fields.set(name, [{ start, end, kind: kindOf(edit.json), keyStart: start, keyEnd: start }])
  }
  const { cuts, isEmptied } = cutsFor(scan, dropped)
  splices.push(...cuts)
  if (added.length > 0) splices.push(insertion(scan, added, isEmptied))
  // What is inserted in front of something that goes stands before it.
  const parts = spliced(
    scan,
    splices.sort((a, b) => a.start - b.start || a.end - b.end),
  )
  return { parts, scan: { ...scan, pieces, fields, length: lengthOf(parts) } }
}

/** New members behind the opening brace. */
function insertion(
  { objectStart, isEmptyObject }: JsonScan,
  members: readonly Uint8Array[],
  isEmptied: boolean,
): Splice {
  const parts = members.flatMap((member) => [member, A_COMMA])
  if (isEmptyObject || isEmptied) parts.pop()
  return { start: objectStart + 1, end: objectStart + 1, parts }
}

/**
 * What goes with members that go: of each the comma behind it; where the last member is among them, the comma in front
 * of all that go together with it. `isEmptied`: none is left.
 */
function cutsFor({ pieces }: JsonScan, dropped: FieldSpan[]): { cuts: Splice[]; isEmptied: boolean } {
  const cuts: Splice[] = []
  let isEmptied = false
  /** Where the members that stand next to each other and go begin, and the key behind them. */
  let runStart = -1
  let nextKey = -1
  for (const { keyStart, end } of dropped.sort((a, b) => a.start - b.start)) {
    if (keyStart !== nextKey) runStart = keyStart
    const behind = afterSpaceIn(pieces, end)
    const isLast = byteAt(pieces, behind) === CLOSE_BRACE
    cuts.push({ start: keyStart, end: isLast ? end : behind + 1, parts: [] })
    if (!isLast) {
      nextKey = afterSpaceIn(pieces, behind + 1)
      continue
    }
    const before = beforeSpaceIn(pieces, runStart)
    isEmptied = byteAt(pieces, before) !== COMMA
    if (!isEmptied) cuts.push({ start: before, end: before + 1, parts: [] })
  }
  return { cuts, isEmptied }
}

/** The document in parts, with splices in their order that do not touch each other. Once over the pieces. */
function spliced({ pieces, length }: JsonScan, splices: readonly Splice[]): Uint8Array[] {
  const parts: Uint8Array[] = []
  let at = 0
  /** The piece in which `at` lies, and where it begins. */
  let nth = 0
  let base = 0
  const passTo = (end: number, isKept: boolean): void => {
    for (let piece = pieces[nth]; piece !== undefined && at < end; piece = pieces[nth]) {
      const to = Math.min(end, base + piece.length)
      if (isKept && to > at)
        parts.push(to - at === piece.length ? piece : piece.subarray(at - base, to - base))
      at = to
      if (to < base + piece.length) return
      base += piece.length
      nth += 1
    }
  }
  for (const { start, end, parts: inserted } of splices) {
    passTo(start, true)
    parts.push(...inserted)
    passTo(end, false)
  }
  passTo(length, true)
  return parts
}

const KINDS: Readonly<Record<number, FieldSpan['kind']>> = {
  [QUOTE]: 'string',
  [OPEN_BRACE]: 'object',
  [OPEN_BRACKET]: 'array',
  0x74: 'true',
  0x66: 'false',
  0x6e: 'null',
}
const kindOf = (json: Uint8Array): FieldSpan['kind'] => KINDS[json[0] ?? 0] ?? 'number'

const byteAt = (pieces: readonly Uint8Array[], at: number): number | undefined =>
  bytesBetween(pieces, at, at + 1)[0]

/** The offset of the first byte at or after `from` that is no white space. */
function afterSpaceIn(pieces: readonly Uint8Array[], from: number): number {
  let base = 0
  for (const piece of pieces) {
    const at = Math.max(0, from - base)
    const next = at < piece.length ? afterSpace(piece, at) : piece.length
    if (next < piece.length) return base + next
    base += piece.length
  }
  return base
}

/** The offset of the last byte before `to` that is no white space; −1 where there is none. */
function beforeSpaceIn(pieces: readonly Uint8Array[], to: number): number {
  let base = lengthOf(pieces)
  for (const piece of pieces.toReversed()) {
    base -= piece.length
    for (let at = Math.min(piece.length, to - base) - 1; at >= 0; at--)
      if (afterSpace(piece, at) === at) return base + at
  }
  return -1
}
