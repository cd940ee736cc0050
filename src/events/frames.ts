/*
 * events: what happened, kept so that each choice can be made again. A log is a row of segments, each of which begins with
 * the configuration and a snapshot of the state and is read by itself; a segment is a row of frames.
 *
 * configs   configurations as choices know them, written down and read again
 * frames    the bytes of a frame: numbers, moments, texts
 * record    what is written down of a request, frame by frame, and how it is read again
 * recorder  writes down what happens: the choices, what is done to the store, how requests end
 * archive   segments as they stand in a file, and what is left of them there
 * segment   the frames of a segment, and the requests that are in it
 * replay    the state and the choices of a segment, made again
 * explain   why a request went where it went, in words and in JSON
 * requests  the last requests, and explanations of them, for whoever asks
 */

/** Moments of the clock are whole multiples of this part of a ms: a double near 2^40 has no finer ones. */
const TICKS = 4096
/** Of a text so much is kept. */
const MOST_TEXT_BYTES = 512

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** How a number is written, by its lowest two bits. */
const WHOLE = 0
const FLOAT = 1
const NONE = 2
const PARTS = 3

/**
 * Writes frames one behind the other into memory that grows: a length, a type, the values. Numbers take as many bytes as
 * they need, moments are told by what has passed since the one before, and a text that was written already by its number.
 */
export class FrameWriter {
  /** Of which `length` are written. */
  bytes: Uint8Array
  length = 0
  private view: DataView
  private start = 0
  private lastNow = 0
  private lastWall = 0
  private readonly texts = new Map<string, number>()

  constructor(size = 65_536) {
    this.bytes = new Uint8Array(size)
    this.view = new DataView(this.bytes.buffer)
  }

  /** Begins a frame; `end` ends it. Nothing is read of one that has no end. */
  begin(type: number): void {
    this.reserve(64)
    this.start = this.length
    this.bytes[this.length + 1] = type
    this.length += 2
  }

  end(): void {
    const size = this.length - this.start - 1
    if (size < 255) {
      this.bytes[this.start] = size
      return
    }
    this.reserve(4)
    this.bytes.copyWithin(this.start + 5, this.start + 1, this.length)
    this.bytes[this.start] = 255
    this.view.setUint32(this.start + 1, size, true)
    this.length += 4
  }

  byte(value: number): void {
    this.reserve(1)
    this.bytes[this.length++] = value
  }

  /** A whole number from 0 to 2^53. */
  count(value: number): void {
    this.reserve(8)
    const { bytes } = this
    let at = this.length
    let rest = value
    for (; rest >= 2 ** 31; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) + 128
    // Nearly all are small, and whole numbers of 32 bits take a fraction of the time.
    let low = rest | 0
    for (; low >= 128; low >>= 7) bytes[at++] = (low & 127) | 128
    bytes[at++] = low
    this.length = at
  }

  /** Any number, exactly, or none. */
  number(value: number | undefined): void {
    if (value === undefined) return this.count(NONE)
    if (value >= 0 && value <= 2 ** 50 && Number.isInteger(value) && !Object.is(value, -0))
      return this.count(value * 4 + WHOLE)
    const parts = value * TICKS
    if (parts > 0 && parts <= 2 ** 50 && Number.isInteger(parts)) return this.count(parts * 4 + PARTS)
    this.count(FLOAT)
    this.float(value)
  }

  /** Both clocks of a moment, exactly. */
  moment({ now, wall }: { readonly now: number; readonly wall: number }): void {
    this.step(now, this.lastNow, TICKS)
    this.step(wall, this.lastWall, 1)
    this.lastNow = now
    this.lastWall = wall
  }

  /** A time by how many parts of a ms have passed since another, or as it is where those are not whole. */
  private step(time: number, last: number, parts: number): void {
    const passed = (time - last) * parts
    const isExact = Number.isInteger(passed) && last + passed / parts === time
    if (isExact && Math.abs(passed) <= 2 ** 50) return this.signed(passed)
    this.signed(ODD)
    this.float(time)
  }

  /** A text that comes again and again; it is cut where it is long. */
  text(value: string): void {
    const known = this.texts.get(value)
    if (known !== undefined) return this.count(known + 1)
    this.texts.set(value, this.texts.size)
    this.count(0)
    this.words(value)
  }

  /** A text that hardly comes again. */
  words(value: string): void {
    if (value === '') return this.byte(0)
    this.chunk(encoder.encode(value).subarray(0, MOST_TEXT_BYTES))
  }

  /** As 16 bytes where it is a UUID, which ids of ours are. */
  id(value: string): void {
    const bytes = bytesOfUuid(value)
    this.byte(bytes === undefined ? 0 : 1)
    if (bytes === undefined) this.words(value)
    else this.raw(bytes)
  }

  /** Anything that JSON can say, and the numbers that it has no word for. */
  json(value: unknown): void {
    this.chunk(encoder.encode(JSON.stringify(value, writeInfinity)))
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  float(value: number): void {
    this.reserve(8)
    this.view.setFloat64(this.length, value, true)
    this.length += 8
  }

  private chunk(bytes: Uint8Array): void {
    this.count(bytes.length)
    this.raw(bytes)
  }

  private signed(value: number): void {
    this.count(value < 0 ? -value * 2 - 1 : value * 2)
  }

  private reserve(more: number): void {
    if (this.length + more <= this.bytes.length) return
    const wider = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more))
    wider.set(this.bytes.subarray(0, this.length))
    this.bytes = wider
    this.view = new DataView(wider.buffer)
  }
}

/** The last ms that a `Date` can say. */
const LAST_WALL = 8.64e15
/** Above all that passes between two moments. */
const ODD = 2 ** 51

/** Reads the frames that a `FrameWriter` has written. */
export class FrameReader {
  private readonly bytes: Uint8Array
  private readonly view: DataView
  private at = 0
  /** Behind the present frame. */
  private next = 0
  private lastNow = 0
  private lastWall = 0
  private readonly texts: string[] = []

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  /** The type of the next frame, of which the values follow; undefined behind the last whole one. */
  frame(): number | undefined {
    this.at = this.next
    const short = this.bytes[this.at]
    if (short === undefined || (short === 255 && this.at + 5 > this.bytes.length)) return undefined
    const size = short === 255 ? this.view.getUint32(this.at + 1, true) : short
    this.at += short === 255 ? 5 : 1
    this.next = this.at + size
    if (this.next > this.bytes.length || size === 0) return undefined
    return this.byte()
  }

  /** Whether nothing behind the present frame was read for it, and its moment is one that a date can say. */
  get isWhole(): boolean {
    return this.at <= this.next && Number.isFinite(this.lastNow) && Math.abs(this.lastWall) <= LAST_WALL
  }

  /** Where the present frame ends. */
  get end(): number {
    return this.next
  }

  byte(): number {
    return this.bytes[this.at++] ?? 0
  }

  count(): number {
    let value = 0
    let scale = 1
    for (;;) {
      const byte = this.byte()
      value += (byte & 127) * scale
      // A damaged file may go on like this for ever.
      if (byte < 128 || scale > 2 ** 49) return value
      scale *= 128
    }
  }

  number(): number | undefined {
    const written = this.count()
    const kind = written % 4
    if (kind === NONE) return undefined
    if (kind === FLOAT) return this.float()
    const value = (written - kind) / 4
    return kind === PARTS ? value / TICKS : value
  }

  moment(): { readonly now: number; readonly wall: number } {
    this.lastNow = this.step(this.lastNow, TICKS)
    this.lastWall = this.step(this.lastWall, 1)
    return { now: this.lastNow, wall: this.lastWall }
  }

  private step(last: number, parts: number): number {
    const passed = this.signed()
    return passed === ODD ? this.float() : last + passed / parts
  }

  /** The length of a list: never more than there are bytes left, whatever a damaged file says. */
  length(): number {
    return Math.min(this.count(), Math.max(0, this.next - this.at))
  }

  text(): string {
    const known = this.count()
    if (known > 0) return this.texts[known - 1] ?? ''
    const value = this.words()
    this.texts.push(value)
    return value
  }

  words(): string {
    const bytes = this.chunk()
    return bytes.length === 0 ? '' : decoder.decode(bytes)
  }

  id(): string {
    if (this.byte() === 0) return this.words()
    let text = ''
    for (let nth = 0; nth < 16; nth++) {
      if (nth === 4 || nth === 6 || nth === 8 || nth === 10) text += '-'
      text += HEX_BYTES[this.byte()] ?? ''
    }
    return text
  }

  /** Not parsed before it is asked for: most who read a log want none of it. That throws where it is damaged. */
  json(): () => unknown {
    const bytes = this.chunk()
    return () => JSON.parse(decoder.decode(bytes), readInfinity)
  }

  raw(length: number): Uint8Array {
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  float(): number {
    this.at += 8
    return this.at <= this.bytes.length ? this.view.getFloat64(this.at - 8, true) : 0
  }

  private chunk(): Uint8Array {
    return this.raw(this.count())
  }

  private signed(): number {
    const value = this.count()
    return value % 2 === 1 ? -(value + 1) / 2 : value / 2
  }
}

/** JSON has no word for them. A text that begins like these gets one more sign. */
const NO_JSON = new Map([
  ['#+', Infinity],
  ['#-', -Infinity],
  ['#?', NaN],
])

function writeInfinity(_: string, value: unknown): unknown {
  if (typeof value === 'string') return value.startsWith('#') ? `#${value}` : value
  if (typeof value !== 'number' || Number.isFinite(value)) return value
  return Number.isNaN(value) ? '#?' : value > 0 ? '#+' : '#-'
}

const readInfinity = (_: string, value: unknown): unknown =>
  typeof value === 'string' && value.startsWith('#') ? (NO_JSON.get(value) ?? value.slice(1)) : value

const HEX_BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
const UUID_LENGTH = 36
const DASH = 45

/** The value of a hex digit by its code; −1 for what is none. */
const HEX_VALUES = Int8Array.from({ length: 128 }, (_, code) =>
  '0123456789abcdef'.indexOf(String.fromCharCode(code)),
)
const uuidBytes = new Uint8Array(16)

/** The bytes of a UUID in lower case, until the next call; undefined for any other id. On the hot path. */
function bytesOfUuid(id: string): Uint8Array | undefined {
  if (id.length !== UUID_LENGTH) return undefined
  let at = 0
  for (let byte = 0; byte < 16; byte++) {
    if (at === 8 || at === 13 || at === 18 || at === 23) if (id.charCodeAt(at++) !== DASH) return undefined
    const high = HEX_VALUES[id.charCodeAt(at++)] ?? -1
    const low = HEX_VALUES[id.charCodeAt(at++)] ?? -1
    if (high < 0 || low < 0) return undefined
    uuidBytes[byte] = high * 16 + low
  }
  return uuidBytes
}

/** An id as frames have it, to look for it in them. */
export const idBytes = (id: string): Uint8Array => bytesOfUuid(id)?.slice() ?? encoder.encode(id)
