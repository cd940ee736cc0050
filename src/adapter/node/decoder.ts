/** Content codings undone by `node:zlib`: of the bodies of answers, and of those of requests. */
import { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import { hasZlibHeader } from '../../http/content-coding.ts'
import { isPlain, type TransportError } from '../../transport/transport.ts'

/** What a receiver of body bytes can do to their source. */
export interface BodySource {
  pause(): void
  resume(): void
  /** Nobody wants the rest. */
  cut(): void
}

/** What a source of body bytes calls: any number of `data`, then one of the other two or nothing. */
export interface BodySink<Failure = TransportError> {
  data(chunk: Uint8Array): void
  end(): void
  /** The body broke off: what came before stays readable, unless it was aborted. */
  fail(error: Failure): void
}

/** `bytesWritten` are those that it has read. */
type Decoder = Transform & { readonly bytesWritten?: number }

/** The first bytes tell the two things apart that are sent as `deflate`. */
type MakeDecoder = (first: Uint8Array) => Decoder

/** Node has it from 22.15 on, and the types of Node 20 do not know it. */
const { createZstdDecompress, constants } = zlib as typeof zlib & {
  createZstdDecompress?: (options: object) => Decoder
}
/** RFC 9659 §3: a window of 8 MB at most. A frame may ask for gigabytes. */
const ZSTD_OPTIONS = {
  params: { [(constants as { ZSTD_d_windowLogMax?: number }).ZSTD_d_windowLogMax ?? 0]: 23 },
}

const DECODERS: Readonly<Record<string, MakeDecoder>> = {
  gzip: () => zlib.createGunzip(),
  'x-gzip': () => zlib.createGunzip(),
  deflate: (first) => (hasZlibHeader(first) ? zlib.createInflate() : zlib.createInflateRaw()),
  br: () => zlib.createBrotliDecompress(),
  ...(createZstdDecompress && { zstd: () => createZstdDecompress(ZSTD_OPTIONS) }),
}

/** The codings that this version of Node undoes. */
export const nodeCodings: readonly string[] = Object.keys(DECODERS).filter((name) => name !== 'x-gzip')

/** RFC 1952 §2.3.1. */
const GZIP_MAGIC = 0x1f

/** For a coding that can't be undone here. */
const undecodable: MakeDecoder = () =>
  new Transform({ transform: (_chunk, _word, done) => done(new Error()) })

/** What becomes of a decoded body. */
interface Decoding<Failure> {
  /** Makes the sink behind the decoder from the source that it has to steer. */
  readonly to: (source: BodySource) => BodySink<Failure>
  /** What the sink fails with where the bytes are not valid. */
  readonly invalid: () => Failure
  /** What begins as JSON or events, or is called gzip and does not begin so, is taken as it is. */
  readonly isLenient?: boolean
}

/**
 * A sink that decodes what it gets. A coding that is not known is never valid.
 *
 * Memory stays bounded: the decoder waits for the sink behind it, and the source for the decoder.
 */
export function createDecoder<Failure>(
  coding: string,
  source: BodySource,
  { to, invalid, isLenient = false }: Decoding<Failure>,
): BodySink<Failure> {
  const make = DECODERS[coding] ?? undecodable
  let decoder: Decoder | undefined
  let given = 0
  let isAsIs = false

  const sink = to({
    pause: () => (isAsIs ? source.pause() : decoder?.pause()),
    resume: () => (isAsIs ? source.resume() : decoder?.resume()),
    cut: () => {
      decoder?.destroy()
      source.cut()
    },
  })

  const isUncoded = (first: Uint8Array): boolean =>
    (coding.endsWith('gzip') && first[0] !== GZIP_MAGIC) || isPlain(first)

  const start = (first: Uint8Array): Decoder =>
    make(first)
      .on('data', (chunk: Uint8Array) => sink.data(chunk))
      .on('drain', () => source.resume())
      .on('end', () => {
        // Of several frames that come together Node reads the first. Behind the end of other codings is only junk.
        if (coding === 'zstd' && decoder?.bytesWritten !== given) refuse()
        else sink.end()
      })
      .on('error', refuse)

  function refuse(): void {
    sink.fail(invalid())
    source.cut()
  }

  return {
    data(chunk) {
      if (decoder === undefined) isAsIs ||= isLenient && isUncoded(chunk)
      if (isAsIs) return sink.data(chunk)
      decoder ??= start(chunk)
      given += chunk.length
      if (!decoder.destroyed && !decoder.write(chunk)) source.pause()
    },
    end() {
      // Nothing at all is a body without a coding.
      if (decoder === undefined) sink.end()
      else decoder.end()
    },
    fail(error) {
      decoder?.destroy()
      sink.fail(error)
    },
  }
}
