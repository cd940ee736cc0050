import type net from 'node:net'

/** The head of a request, as it came. */
export interface RequestHead {
  readonly method: string
  /** Path and query. */
  readonly path: string
  /** Names and values in turn, spelt and ordered as they came. */
  readonly rawHeaders: readonly string[]
  /** The same with lower-case names; of a repeated one the last. */
  readonly headers: Readonly<Record<string, string | undefined>>
}

/** Reads one HTTP/1.1 request with its body; undefined when the connection ends before it is complete. */
export async function readRequest(bytes: Reader): Promise<(RequestHead & { body: Buffer }) | undefined> {
  const text = await bytes.until('\r\n\r\n')
  if (text === undefined) return undefined
  const [start = '', ...lines] = text.toString('latin1').trimEnd().split('\r\n')
  const [method = '', path = ''] = start.split(' ')
  const rawHeaders = lines.flatMap((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon), line.slice(colon + 1).trim()]
  })
  const headers: Record<string, string> = {}
  for (let i = 0; i < rawHeaders.length; i += 2) headers[rawHeaders[i]!.toLowerCase()] = rawHeaders[i + 1]!

  const chunked = headers['transfer-encoding']?.includes('chunked') ?? false
  const body = chunked ? await readChunks(bytes) : await bytes.exactly(Number(headers['content-length'] ?? 0))
  return body && { method, path, rawHeaders, headers, body }
}

async function readChunks(bytes: Reader): Promise<Buffer | undefined> {
  const parts: Buffer[] = []
  for (;;) {
    const line = await bytes.until('\r\n')
    const size = Number.parseInt(line?.toString() ?? '', 16)
    const part = Number.isNaN(size) ? undefined : await bytes.exactly(size + 2)
    if (part === undefined) return undefined
    if (size === 0) return Buffer.concat(parts)
    parts.push(part.subarray(0, size))
  }
}

/** The bytes that come over one connection, for as long as it lives. */
export interface Reader {
  /** Up to and with the mark; undefined when the connection ends before it. */
  until(mark: string): Promise<Buffer | undefined>
  exactly(bytes: number): Promise<Buffer | undefined>
}

/** Reads all the time, so that a client that leaves is noticed at once; a leaving client closes the socket. */
export function createReader(socket: net.Socket): Reader {
  let parts: Buffer[] = []
  let have = 0
  let wake = () => {}
  let over = socket.destroyed

  socket.on('data', (chunk: Buffer) => {
    parts.push(chunk)
    have += chunk.length
    wake()
  })
  socket.on('end', () => socket.destroy())
  socket.on('close', () => {
    over = true
    wake()
  })

  const all = (): Buffer => {
    if (parts.length > 1) parts = [Buffer.concat(parts)]
    return parts[0] ?? Buffer.alloc(0)
  }
  const take = (bytes: number): Buffer => {
    const whole = all()
    parts = [whole.subarray(bytes)]
    have = whole.length - bytes
    return whole.subarray(0, bytes)
  }
  const more = () => new Promise<void>((resolve) => (wake = resolve))

  return {
    async until(mark) {
      for (;;) {
        const at = all().indexOf(mark)
        if (at >= 0) return take(at + mark.length)
        if (over) return undefined
        await more()
      }
    },
    async exactly(bytes) {
      for (;;) {
        if (have >= bytes) return take(bytes)
        if (over) return undefined
        await more()
      }
    },
  }
}
