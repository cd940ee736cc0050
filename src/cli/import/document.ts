import { closeSync, openSync, readSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { DEEPEST, withoutByteOrderMark } from '../../config/problem.ts'
import { readSource } from '../../config/source.ts'
import { systemCodeOf } from '../../errors.ts'

/** Larger files are no configuration that somebody wrote. */
const MOST_BYTES = 5_000_000
/** Aliases times the aliases within what they stand for, as `yaml` counts them. Anchors shared by hundreds of models fit. */
const MOST_ALIASES = 1000
/** Values of a document with every alias followed: what a hostile one could make of 5 MB has no end. */
const MOST_VALUES = 1_000_000

/** Why a file holds nothing that can be read, behind its name: `is empty`. Never repeats any of it. */
export class Unreadable extends Error {}

/** Reads a file as JSON, as lines of NAME=value, or as YAML. @throws Unreadable */
export async function readDocument(file: string, isEnvironment: boolean) {
  const text = readText(file)
  if (text.trim() === '') throw new Unreadable('is empty')
  if (isEnvironment || isLinesOfVariables(text)) return { value: parseEnv(text), text, isEnvironment: true }
  const value = /^\s*[[{]/.test(text) ? parseJson(text) : await parseYaml(text)
  refuseExcess(value)
  return { value, text, isEnvironment: false }
}

function readText(file: string): string {
  // Read up to the limit and not by its size: a pipe has none.
  const bytes = new Uint8Array(MOST_BYTES + 1)
  let length = 0
  try {
    const descriptor = openSync(file, 'r')
    try {
      for (let more = -1; more !== 0 && length < bytes.length; length += more)
        more = readSync(descriptor, bytes, length, bytes.length - length, null)
    } finally {
      closeSync(descriptor)
    }
  } catch (error) {
    const code = systemCodeOf(error) ?? 'an unknown error'
    throw new Unreadable(REFUSALS[code] ?? `cannot be read (${code})`)
  }
  if (length > MOST_BYTES) throw new Unreadable('is larger than 5 MB; a configuration is not')
  const content = bytes.subarray(0, length)
  if (content.includes(0)) throw new Unreadable('is not text; export the channels or groups as JSON')
  try {
    return withoutByteOrderMark(new TextDecoder('utf-8', { fatal: true }).decode(content))
  } catch {
    throw new Unreadable('is not UTF-8; save it as UTF-8')
  }
}

const REFUSALS: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  ENOTDIR: 'is not there',
  EISDIR: 'is a directory; name the file in it',
  EACCES: 'may not be read by this user',
}

/** Every line that is neither blank nor a comment gives a variable a value. */
const isLinesOfVariables = (text: string): boolean =>
  text.split(/\r?\n/).every((line) => /^\s*(?:#.*|(?:export\s+)?[A-Za-z_]\w*\s*=.*)?$/.test(line))

function parseJson(text: string): unknown {
  const { value, syntaxErrors } = readSource(text)
  const [error] = syntaxErrors
  if (error === undefined) return value
  const { line, column } = error.position
  throw new Unreadable(`is no JSON at line ${line}, column ${column}: ${error.message}`)
}

async function parseYaml(text: string): Promise<unknown> {
  const yaml = await import('yaml')
  const lines = new yaml.LineCounter()
  try {
    // `merge` is YAML 1.1's `<<`, which these programs' parsers know. Messages quote the text: only codes are told. The
    // parser compares each key with all others of its object; of 200,000 that takes minutes.
    const parsed = yaml.parseAllDocuments(text, {
      merge: true,
      uniqueKeys: false,
      prettyErrors: false,
      lineCounter: lines,
    })
    const documents = Array.isArray(parsed) ? parsed : []
    const [first] = documents
    if (first === undefined) throw new Unreadable('is empty')
    if (documents.length > 1) throw new Unreadable('has several YAML documents; keep the one to import')
    const [error] = first.errors
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0])
      const what = error.code.toLowerCase().replaceAll('_', ' ')
      throw new Unreadable(`cannot be read as YAML at line ${line}, column ${col} (${what})`)
    }
    const [warning] = first.warnings
    const lineAt = (offset: number): number => lines.linePos(offset).line
    if (warning !== undefined)
      throw new Unreadable(
        `has a YAML tag of its own at line ${lineAt(warning.pos[0])}, which is not read; take it out`,
      )
    yaml.visit(first, {
      Map(_, { items }) {
        const seen = new Set<unknown>()
        for (const key of items.map((item) => item.key).filter(yaml.isScalar)) {
          if (seen.has(key.value))
            throw new Unreadable(
              `has a key a second time at line ${lineAt(key.range?.[0] ?? 0)}; keep one of them`,
            )
          seen.add(key.value)
        }
      },
    })
    return first.toJS({ maxAliasCount: MOST_ALIASES }) as unknown
  } catch (error) {
    if (error instanceof ReferenceError) throw new Unreadable('has too many YAML aliases; write them out')
    // The parser is recursive: a text of some thousand brackets ends its stack.
    throw error instanceof RangeError ? new Unreadable(TOO_DEEP) : error
  }
}

const TOO_DEEP = 'has lists or objects nested without end'

/** @throws Unreadable when a document would be too much to walk through */
function refuseExcess(document: unknown): void {
  let seen = 0
  let layer = [document]
  for (let depth = 0; layer.length > 0; depth += 1) {
    if (depth > DEEPEST) throw new Unreadable(TOO_DEEP)
    const below: unknown[] = []
    for (const value of layer) {
      if (typeof value !== 'object' || value === null) continue
      const inner = Object.values(value)
      seen += inner.length
      if (seen > MOST_VALUES) throw new Unreadable('has more than a million values; a configuration has not')
      for (const each of inner) below.push(each)
    }
    layer = below
  }
}
