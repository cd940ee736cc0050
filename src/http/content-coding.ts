import { GatewayError } from '../errors.ts'
import { streamOf, type ByteChunk, type ByteReader } from '../lib/bytes.ts'

/*
 * Content codings of request bodies (RFC 9110 §8.4): which there are and in which order they are undone. What can undo
 * them is the runtime's own.
 */

/** Each is as much work as the body is long. */
const MOST_CODINGS = 3

/**
 * What to undo of a body, the outermost first: the header names codings in the order in which they were applied. `known`
 * are those of the runtime. @throws GatewayError `unsupported_encoding`
 */
export function codingsOf(header: string | undefined, known: readonly string[]): readonly string[] {
  if (header === undefined) return []
  const named = header.split(',').map((name) =>
    name
      .trim()
      .toLowerCase()
      .replace(/^x-gzip$/, 'gzip'),
  )
  const codings = named.filter((name) => name !== '' && name !== 'identity').toReversed()
  const unknown = codings.find((name) => !known.includes(name))
  if (unknown === undefined && codings.length <= MOST_CODINGS) return codings
  const shown = /^[\w!#$%&'*+.^`|~-]{1,40}/.exec(unknown ?? '')?.[0] ?? ''
  const what = unknown === undefined ? `More than ${MOST_CODINGS} codings` : `The content-encoding "${shown}"`
  const possible = [...known, 'identity'].join(', ')
  // RFC 9110 §15.5.16 has the header.
  throw new GatewayError(
    'unsupported_encoding',
    `${what} cannot be decoded here; possible are ${possible}.`,
    {
      headers: { 'accept-encoding': possible },
    },
  )
}

/** The rest of the body is not read, so the connection can't be used again. */
export function invalidEncoding(coding: string): GatewayError {
  return new GatewayError('invalid_encoding', `The body is not valid ${coding} (content-encoding).`, {
    headers: { connection: 'close' },
  })
}

/**
 * Whether a body that is called `deflate` has the header of zlib, by its first byte. RFC 9110 §8.4.1.2 means zlib by it;
 * some send it without.
 */
export const hasZlibHeader = (first: Uint8Array): boolean => ((first[0] ?? 0) & 0x0f) === 8

/** Undoes one coding of a body; reading fails where it is not valid. */
export type DecodeBody = (body: ByteReader) => ByteReader

/** The runtimes' types disagree on whose bytes a stream takes, and on which formats there are. */
interface ByteTransform {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
}

/** @throws where the runtime does not know the format, or has no `DecompressionStream` at all */
function createDecompression(format: string): ByteTransform {
  const Decompression = DecompressionStream as unknown as new (format: string) => ByteTransform
  return new Decompression(format)
}

/** The decoders of a runtime with `DecompressionStream`, by the names of the codings; not all know all formats. */
export function webDecoders(): ReadonlyMap<string, DecodeBody> {
  const formats: readonly (readonly [coding: string, format: string])[] = [
    ['gzip', 'gzip'],
    ['deflate', 'deflate'],
    ['br', 'brotli'],
    ['zstd', 'zstd'],
  ]
  const isKnown = (format: string): boolean => {
    try {
      return createDecompression(format) !== undefined
    } catch {
      return false
    }
  }
  return new Map(
    formats.filter(([, format]) => isKnown(format)).map(([coding, format]) => [coding, decodeAs(format)]),
  )
}

const decodeAs =
  (format: string): DecodeBody =>
  (body) => {
    let decoded = body
    let isOpen = false
    return {
      async read() {
        if (isOpen) return decoded.read()
        const first = await body.read()
        // Nothing at all is a body without a coding.
        if (first.done || first.value.length === 0) return first
        const found = format === 'deflate' && !hasZlibHeader(first.value) ? 'deflate-raw' : format
        decoded = streamOf(readAgain(first, body)).pipeThrough(createDecompression(found)).getReader()
        isOpen = true
        return decoded.read()
      },
      cancel: (reason) => decoded.cancel(reason),
    }
  }

/** A body whose first chunk has been read. */
function readAgain(first: ByteChunk, body: ByteReader): ByteReader {
  let isFirst = true
  return {
    async read() {
      if (!isFirst) return body.read()
      isFirst = false
      return first
    },
    cancel: (reason) => body.cancel(reason),
  }
}
