import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import { TransportError } from '../relay/transport.ts'
import type { Sink, Source } from './node-transport-body.ts'

/** Makes a decoder; the first bytes tell the two things apart that are sent as `deflate`. */
type MakeDecoder = (first: Uint8Array) => Transform

/** RFC 9110 §8.4.1.2 means zlib by `deflate`; some servers send it without zlib's header. */
const inflater: MakeDecoder = (first) =>
  ((first[0] ?? 0) & 0x0f) === 8 ? zlib.createInflate() : zlib.createInflateRaw()

const decoders: Readonly<Record<string, MakeDecoder>> = {
  gzip: () => zlib.createGunzip(),
  'x-gzip': () => zlib.createGunzip(),
  deflate: inflater,
  br: () => zlib.createBrotliDecompress(),
  ...zstd(),
}

/** Node has it from 22.15 on, and the types of Node 20 do not know it. */
function zstd(): Record<string, MakeDecoder> {
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform }
  return createZstdDecompress ? { zstd: () => createZstdDecompress() } : {}
}

/** The coding that a `content-encoding` header asks to undo; undefined where there is none. */
export function codingOf(contentEncoding: string | undefined): string | undefined {
  if (contentEncoding === undefined) return undefined
  const coding = contentEncoding.trim().toLowerCase()
  return coding === '' || coding === 'identity' ? undefined : coding
}

/**
 * A sink that decodes what it gets; `to` makes the sink behind it from the source that it has to steer.
 * Undefined for a coding that is not known, or for several on top of each other (nobody sends that).
 *
 * Memory stays bounded: the decoder waits for the sink behind it, and the source for the decoder.
 */
export function createDecoder(
  coding: string,
  source: Source,
  to: (source: Source) => Sink,
): Sink | undefined {
  const make = Object.hasOwn(decoders, coding) ? decoders[coding] : undefined
  if (make === undefined) return undefined
  let decoder: Transform | undefined

  const sink = to({
    pause: () => decoder?.pause(),
    resume: () => decoder?.resume(),
    cut: () => {
      decoder?.destroy()
      source.cut()
    },
  })

  const start = (first: Uint8Array): Transform =>
    make(first)
      .on('data', (chunk: Uint8Array) => sink.data(chunk))
      .on('drain', () => source.resume())
      .on('end', () => sink.end())
      .on('error', () => {
        sink.fail(new TransportError('undecodable', `the body is no valid ${coding}`))
        source.cut()
      })

  return {
    data(chunk) {
      if (chunk.byteLength === 0) return
      decoder ??= start(chunk)
      if (!decoder.destroyed && !decoder.write(chunk)) source.pause()
    },
    end() {
      // Nothing at all is a body without a coding, such as the answer to a HEAD request.
      if (decoder === undefined) sink.end()
      else decoder.end()
    },
    fail(error) {
      decoder?.destroy()
      sink.fail(error)
    },
    abort(error) {
      decoder?.destroy()
      sink.abort(error)
    },
  }
}
