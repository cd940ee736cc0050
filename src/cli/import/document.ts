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

/** What a file holds, or one sentence why it holds nothing that can be read. Never repeats any of it. */
export type ReadDocument =
  | { readonly value: unknown; readonly text: string; readonly isEnvironment: boolean }
  | { readonly failure: string }

/** Reads a file as JSON, as lines of NAME=value, or as YAML. */
export async function readDocument(file: string, isEnvironment: boolean): Promise<ReadDocument> {
  const read = readText(file)
  if ('failure' in read) return read
  const { text } = read
  if (text.trim() === '') return { failure: 'is empty' }
  if (isEnvironment || isLinesOfVariables(text)) return { value: parseEnv(text), text, isEnvironment: true }
  const parsed = /^\s*[[{]/.test(text) ? parseJson(text) : await parseYaml(text)
  if ('failure' in parsed) return parsed
  const excess = excessOf(parsed.value)
  return excess === undefined ? { ...parsed, text, isEnvironment: false } : { failure: excess }
}

function readText(file: string): { readonly text: string } | { readonly failure: string } {
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
    return { failure: unreadable[systemCodeOf(error) ?? ''] ?? `cannot be read (${systemCodeOf(error)})` }
  }
  if (length > MOST_BYTES) return { failure: 'is larger than 5 MB; a configuration is not' }
  const content = bytes.subarray(0, length)
  if (content.includes(0)) return { failure: 'is not text; export the channels or groups as JSON' }
  try {
    return { text: withoutByteOrderMark(new TextDecoder('utf-8', { fatal: true }).decode(content)) }
  } catch {
    return { failure: 'is not UTF-8; save it as UTF-8' }
  }
}

const unreadable: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  ENOTDIR: 'is not there',
  EISDIR: 'is a directory; name the file in it',
  EACCES: 'may not be read by this user',
}

/** Every line that is neither blank nor a comment gives a variable a value. */
const isLinesOfVariables = (text: string): boolean =>
  text.split(/\r?\n/).every((line) => /^\s*(?:#.*|(?:export\s+)?[A-Za-z_]\w*\s*=.*)?$/.test(line))

function parseJson(text: string): { readonly value: unknown } | { readonly failure: string } {
  const { value, syntaxErrors } = readSource(text)
  const [error] = syntaxErrors
  if (error === undefined) return { value }
  const { line, column } = error.position
  return { failure: `is no JSON at line ${line}, column ${column}: ${error.message}` }
}

async function parseYaml(text: string): Promise<{ readonly value: unknown } | { readonly failure: string }> {
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
    if (first === undefined) return { failure: 'is empty' }
    if (documents.length > 1) return { failure: 'has several YAML documents; keep the one to import' }
    const [error] = first.errors
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0])
      const what = error.code.toLowerCase().replaceAll('_', ' ')
      return { failure: `cannot be read as YAML at line ${line}, column ${col} (${what})` }
    }
    const [warning] = first.warnings
    if (warning !== undefined) {
      const { line } = lines.linePos(warning.pos[0])
      return { failure: `has a YAML tag of its own at line ${line}, which is not read; take it out` }
    }
    let repeated: number | undefined
    yaml.visit(first, {
      Map(_, { items }) {
        const seen = new Set<unknown>()
        for (const { key } of items) {
          if (!yaml.isScalar(key)) continue
          if (seen.has(key.value)) repeated ??= key.range?.[0]
          seen.add(key.value)
        }
      },
    })
    if (repeated !== undefined)
      return { failure: `has a key a second time at line ${lines.linePos(repeated).line}; keep one of them` }
    return { value: first.toJS({ maxAliasCount: MOST_ALIASES }) }
  } catch (error) {
    if (error instanceof ReferenceError) return { failure: 'has too many YAML aliases; write them out' }
    // The parser is recursive: a text of some thousand brackets ends its stack.
    if (error instanceof RangeError) return { failure: TOO_DEEP }
    throw error
  }
}

const TOO_DEEP = 'has lists or objects nested without end'

/** Why a document would be too much to walk through, if it is. */
function excessOf(document: unknown): string | undefined {
  let seen = 0
  let layer = [document]
  for (let depth = 0; layer.length > 0; depth += 1) {
    if (depth > DEEPEST) return TOO_DEEP
    const below: unknown[] = []
    for (const value of layer) {
      if (typeof value !== 'object' || value === null) continue
      const inner = Object.values(value)
      seen += inner.length
      if (seen > MOST_VALUES) return 'has more than a million values; a configuration has not'
      for (const each of inner) below.push(each)
    }
    layer = below
  }
  return undefined
}
