import type { Socket } from 'node:net'
import { createAbort, type AbortSignalLike } from '../lib/abort.ts'
import { answerHeadText, asksToClose, type AnswerFields, type Framing } from './node-http-answer-text.ts'
import type { RequestHead } from './node-http-request-head.ts'
import { latin1Of, TEXT_LIMIT_BYTES } from './node-latin1.ts'

/** What an answer needs of its connection. */
export interface Wire {
  readonly socket: Socket
  /** Whether another request may follow the present one. */
  mayGoOn(): boolean
  /** The answer has left. */
  answered(isKept: boolean): void
}

/** `close`, once, when the answer has left or its client has; `drain`, when there is room behind a full write. */
type AnswerEvent = 'close' | 'drain'

interface Listener {
  readonly event: string
  readonly tell: () => void
  readonly isOnce: boolean
}

/** The answer to one request: what `@hono/node-server` asks of Node's `ServerResponse`, of which it is a part. */
export class ServerAnswer {
  headersSent = false
  /** The answer has left as a whole. */
  writableFinished = false
  destroyed = false
  readonly #head: RequestHead
  readonly #wire: Wire
  readonly #leaving = createAbort()
  #listeners: Listener[] = []
  #status = 200
  #fields: AnswerFields = {}
  #isChunked = false
  #isEnded = false
  #isKept = false

  constructor(head: RequestHead, wire: Wire) {
    this.#head = head
    this.#wire = wire
  }

  /** Aborted when the client leaves before its answer has left. */
  get gone(): AbortSignalLike {
    return this.#leaving.signal
  }

  /** Of other events than its own nothing is ever heard. */
  on(event: string, tell: () => void): this {
    this.#listeners.push({ event, tell, isOnce: false })
    return this
  }

  once(event: string, tell: () => void): this {
    this.#listeners.push({ event, tell, isOnce: true })
    return this
  }

  off(event: string, tell: () => void): this {
    this.#listeners = this.#listeners.filter((one) => one.event !== event || one.tell !== tell)
    return this
  }

  writeHead(status: number, fields: AnswerFields = {}): this {
    this.#status = status
    this.#fields = fields
    return this
  }

  /** Sends the head of an answer whose body comes piece by piece. */
  flushHeaders(): void {
    if (!this.headersSent && !this.#isCut()) this.#wire.socket.write(this.#streamHead(), 'latin1')
  }

  /** Sends a piece of the body, the first with its head. False = no room for more; `drain` follows. */
  write(chunk: Uint8Array): boolean {
    if (this.#isEnded || this.#isCut()) return false
    // As a frame it would be the last.
    if (chunk.length === 0) return true
    const before = this.headersSent ? '' : this.#streamHead()
    if (!this.#mayHaveBody()) return before === '' || this.#wire.socket.write(before, 'latin1')
    if (!this.#isChunked) return this.#send(before, chunk, '')
    return this.#send(`${before}${chunk.length.toString(16)}\r\n`, chunk, '\r\n')
  }

  /**
   * Ends the answer; with a body that is there as a whole where nothing has been written. Again it does nothing: Hono
   * makes a second answer of the first one to `HEAD`.
   */
  end(body: string | Uint8Array | null = null): void {
    if (this.#isEnded || this.#isCut()) return
    if (!this.headersSent) this.#sendWhole(typeof body === 'string' ? Buffer.from(body) : (body ?? NOTHING))
    else if (this.#isChunked) this.#wire.socket.write('0\r\n\r\n', 'latin1')
    this.#isEnded = true
    this.#behindAll(() => this.#finish())
  }

  /** Cuts an answer off, behind what has been written of it. */
  destroy(): void {
    const { socket } = this.#wire
    // A body without frames that ends in order would be taken for whole.
    this.#behindAll(() => void (this.#isChunked ? socket.destroy() : socket.resetAndDestroy()))
  }

  /** There is room again. */
  drained(): void {
    this.#tell('drain')
  }

  /** Its connection is gone, and with it the client. */
  lost(): void {
    this.destroyed = true
    this.#leaving.abort()
    this.#tell('close')
  }

  #tell(event: AnswerEvent): void {
    for (const listener of this.#listeners) {
      if (listener.event !== event) continue
      if (listener.isOnce) this.off(event, listener.tell)
      listener.tell()
    }
  }

  #sendWhole(body: Uint8Array): void {
    const hasBody = this.#mayHaveBody()
    const head = this.#headText(hasBody ? { bytes: body.length } : 'none')
    this.#send(head, hasBody ? body : NOTHING, '')
  }

  /** RFC 9110 §6.4.1. */
  #mayHaveBody(): boolean {
    return this.#head.method !== 'HEAD' && this.#status !== 204 && this.#status !== 304
  }

  #streamHead(): string {
    if (!this.#mayHaveBody()) return this.#headText('none')
    this.#isChunked = !this.#head.isHttp10
    return this.#headText(this.#isChunked ? 'chunks' : 'until-close')
  }

  #headText(framing: Framing): string {
    this.#isKept = framing !== 'until-close' && this.#wire.mayGoOn() && !asksToClose(this.#fields)
    const text = answerHeadText(this.#status, this.#fields, { framing, isKept: this.#isKept })
    this.headersSent = true
    return text
  }

  /** What is small goes out as one text, and the rest in one system call where it takes it. */
  #send(before: string, bytes: Uint8Array, behind: string): boolean {
    const { socket } = this.#wire
    if (bytes.length <= TEXT_LIMIT_BYTES)
      return socket.write(`${before}${latin1Of(bytes)}${behind}`, 'latin1')
    socket.cork()
    if (before !== '') socket.write(before, 'latin1')
    let isRoomy = socket.write(bytes)
    if (behind !== '') isRoomy = socket.write(behind, 'latin1')
    socket.uncork()
    return isRoomy
  }

  /** Does it when all that was written has left; not where the connection ends before. */
  #behindAll(task: () => void): void {
    if (this.#isCut() || this.writableFinished) return
    const { socket } = this.#wire
    if (socket.writableLength === 0) task()
    else socket.write('', (error) => error ?? task())
  }

  /** Its connection is gone, or it is about to be told so. */
  #isCut(): boolean {
    return this.destroyed || this.#wire.socket.destroyed
  }

  #finish(): void {
    this.writableFinished = true
    this.#tell('close')
    this.#wire.answered(this.#isKept)
  }
}

const NOTHING = new Uint8Array(0)
