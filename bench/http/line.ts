import net from 'node:net'
import { delaysIn } from './stamp.ts'

/** One connection; `onEnd` is called with the status at the end of each answer. */
export class Line {
  readonly #socket: net.Socket
  #left = 0
  #isChunked = false
  #isInBody = false
  #head = ''
  #status = 0
  chunks = 0
  /** Of each chunk that says when it was written, ms. */
  readonly delays: number[] = []

  constructor(port: number, onEnd: (status: number) => void, onClose: () => void) {
    this.#socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.on('data', (bytes) => this.#read(bytes, onEnd))
    this.#socket.on('error', () => {})
    this.#socket.on('close', onClose)
  }

  send(request: Buffer): void {
    this.#socket.write(request)
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(bytes: Buffer, onEnd: (status: number) => void): void {
    if (!this.#isInBody) {
      this.#head += bytes.toString('latin1')
      const end = this.#head.indexOf('\r\n\r\n')
      if (end < 0) return
      const fields = this.#head.slice(0, end).toLowerCase()
      this.#status = Number(fields.slice(9, 12))
      this.#isChunked = fields.includes('transfer-encoding: chunked')
      const body = this.#head.slice(end + 4)
      this.#left = Number(/\ncontent-length: (\d+)/.exec(fields)?.[1] ?? 0) - body.length
      this.#isInBody = true
      this.#head = ''
      if (this.#isChunked) this.#countEvents(body)
      const isOver = this.#isChunked ? body.endsWith('0\r\n\r\n') : this.#left <= 0
      if (isOver) this.#end(onEnd)
      return
    }
    this.#left -= bytes.length
    if (this.#isChunked) this.#countEvents(bytes.toString('latin1'))
    const isOver = this.#isChunked
      ? bytes.toString('latin1', bytes.length - 5) === '0\r\n\r\n'
      : this.#left <= 0
    if (isOver) this.#end(onEnd)
  }

  #countEvents(text: string): void {
    for (let at = text.indexOf('data:'); at >= 0; at = text.indexOf('data:', at + 5)) this.chunks += 1
    this.delays.push(...delaysIn(text))
  }

  #end(onEnd: (status: number) => void): void {
    this.#isInBody = false
    onEnd(this.#status)
  }
}
