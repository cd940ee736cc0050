import { describe, expect, test } from 'vitest'
import { connectRaw, headOf, type RawClient } from '../../support/raw-client.ts'
import { type ServerBed, startServerBed } from '../../support/server-bed.ts'
import { until } from '../../support/until.ts'

const get = (path: string, headers: Readonly<Record<string, string | number>> = {}): string =>
  headOf(`GET ${path} HTTP/1.1`, headers)
const post = (path: string, body: string): string =>
  headOf(`POST ${path} HTTP/1.1`, { 'content-length': body.length }) + body

/** Resolves when the server has cut the connection; a byte is sent now and then, since nothing else would tell. */
async function cutOff({ socket }: RawClient): Promise<void> {
  while (!socket.destroyed) {
    await new Promise((resolve) => setTimeout(resolve, 300))
    socket.write('x')
  }
}

/** Resolves with the number once it has stopped to grow. */
async function stillAt(count: () => number): Promise<number> {
  for (let before = -1; ;) {
    const now = count()
    if (now === before && now > 0) return now
    before = now
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/**
 * A paused client whose request is being answered. Where the clocks are short a busy machine may be too late to read it:
 * then another asks.
 */
async function askedFor(path: string, { port, seen }: Pick<ServerBed, 'port' | 'seen'>): Promise<RawClient> {
  for (;;) {
    const client = await connectRaw(port)
    client.socket.pause()
    client.send(get(path))
    for (let looks = 0; looks < 50; looks++) {
      if (seen.includes(`GET ${path}`)) return client
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    client.socket.destroy()
  }
}

test('a connection serves one request after another, and says how long it waits for the next', async () => {
  const { port } = await startServerBed()
  const client = await connectRaw(port)
  for (const body of ['first', 'second']) {
    client.send(post('/echo', body))
    await client.received(new RegExp(`${body.length} ${body}$`))
  }
  expect(client.text).toMatch(
    /^HTTP\/1\.1 200 OK\r\nx-route: a\r\ncontent-length: 7\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\nconnection: keep-alive\r\nkeep-alive: timeout=65\r\n\r\n5 first/i,
  )
  client.socket.destroy()
})

test('HEAD, 204 and 304 have no body and the connection goes on', async () => {
  const { port } = await startServerBed()
  const client = await connectRaw(port)
  const all =
    headOf('HEAD /echo HTTP/1.1', {}) +
    headOf('HEAD /pieces HTTP/1.1', {}) +
    get('/empty') +
    get('/unchanged') +
    post('/echo', 'last')
  client.send(all)
  await client.received(/4 last$/)
  const answers = client.text.split(/(?=HTTP\/1\.1 )/)
  expect(answers.map((answer) => answer.split('\r\n\r\n')[1])).toEqual(['', '', '', '', '4 last'])
  expect(answers.slice(2, 4).join('')).not.toMatch(/content-length|transfer-encoding/)
  expect(client.statuses).toEqual([200, 200, 204, 304, 200])
  client.socket.destroy()
})

test('a request that is sent ahead is handled when the answer before it has left', async () => {
  const bed = await startServerBed()
  const client = await connectRaw(bed.port)
  client.send(get('/held') + post('/echo', 'x'.repeat(1_000_000)) + get('/empty'))
  await until(
    () => bed.seen,
    (seen) => seen.length > 0,
  )
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(bed.seen).toEqual(['GET /held'])
  bed.release()
  await client.received(/ 204 /)
  expect(client.statuses).toEqual([200, 200, 204])
  expect(client.text).toContain('1000000 xxx')
  client.socket.destroy()
})

test('a client that sends far ahead is answered in order, and is not read on while requests wait', async () => {
  const bed = await startServerBed()
  const client = await connectRaw(bed.port)
  const filler = headOf('GET /empty HTTP/1.1', { 'x-filler': 'x'.repeat(30_000) })
  client.send(get('/held') + get('/empty').repeat(15) + filler.repeat(500) + post('/echo', 'last'))
  await until(
    () => bed.seen.length,
    (count) => count === 1,
  )
  const [, other] = await Promise.all([connectRaw(bed.port), connectRaw(bed.port)])
  other.send(post('/echo', 'another'))
  await other.received(/7 another$/)
  expect(client.socket.writableLength, 'most has not left').toBeGreaterThan(5_000_000)
  bed.release()
  await client.received(/4 last$/)
  expect(client.text.split(' 204 ')).toHaveLength(1 + 515)
  for (const { socket } of [client, other]) socket.destroy()
})

test('the time for a head does not run while a connection is not read', async () => {
  const bed = await startServerBed({ headMs: 300 })
  const client = await connectRaw(bed.port)
  const last = post('/echo', 'last')
  client.send(get('/held') + get('/empty').repeat(20) + last.slice(0, 20))
  await until(
    () => bed.seen.length,
    (count) => count === 1,
  )
  // As long as that, by the clock that looks for late heads.
  const slow = await connectRaw(bed.port)
  slow.send('GET /empty HTTP/1.1\r\n')
  await slow.received(/ 408 /)
  bed.release()
  await until(
    () => client.statuses.length,
    (count) => count === 21,
  )
  client.send(last.slice(20))
  await client.received(/4 last$/)
  client.socket.destroy()
})

test('a head that stays cut off when the connection is read on is late', async () => {
  const bed = await startServerBed({ headMs: 300 })
  const client = await connectRaw(bed.port)
  client.send(get('/held') + get('/empty').repeat(20) + 'GET /empty HTTP/1.1\r\n')
  await until(
    () => bed.seen.length,
    (count) => count === 1,
  )
  const slow = await connectRaw(bed.port)
  slow.send('GET /empty HTTP/1.1\r\n')
  await slow.received(/ 408 /)
  bed.release()
  await client.received(/ 408 [^]*request_timeout/)
  await client.ended()
  expect(client.statuses).toHaveLength(22)
})

test('clients above the most are told to come back, those that are connected stay', async () => {
  const bed = await startServerBed()
  const clients = await Promise.all([connectRaw(bed.port), connectRaw(bed.port)])
  for (const { send } of clients) send(post('/echo', 'in'))
  for (const { received } of clients) await received(/2 in$/)
  bed.limitConnections(1)
  const refused = await connectRaw(bed.port)
  await refused.received(/^HTTP\/1\.1 503 [^]*retry-after: 1\r\n[^]*"code":"overloaded"/i)
  expect(await refused.ended()).toBe('closed')
  for (const { send } of clients) send(post('/echo', 'still in'))
  for (const { received } of clients) await received(/8 still in$/)
  for (const { socket } of clients) socket.destroy()
  await until(
    async () => {
      const { socket, send, received } = await connectRaw(bed.port)
      send(post('/echo', 'again'))
      const text = await received(/HTTP[^]*(?:}|again)$/)
      socket.destroy()
      return text
    },
    (text) => text.endsWith('5 again'),
  )
})

test('a client that was refused takes no place, however long it stays', async () => {
  const bed = await startServerBed({ lingerMs: 1_000_000, longestLingerMs: 1_000_000 })
  bed.limitConnections(1)
  const first = await connectRaw(bed.port)
  first.send(post('/echo', 'in'))
  await first.received(/2 in$/)
  const refused = await Promise.all([connectRaw(bed.port), connectRaw(bed.port)])
  for (const client of refused) {
    client.socket.allowHalfOpen = true
    await client.received(/ 503 /)
  }
  first.socket.end()
  await first.ended()
  const next = await connectRaw(bed.port)
  next.send(post('/echo', 'next'))
  await next.received(/^HTTP\/1\.1 200 [^]*4 next$/)
  const above = await connectRaw(bed.port)
  await above.received(/ 503 /)
  for (const { socket } of [...refused, next, above]) socket.destroy()
})

test('a client that was refused and goes on sending is soon cut', async () => {
  const bed = await startServerBed({ lingerMs: 300, longestLingerMs: 1_000_000 })
  bed.limitConnections(0)
  const refused = await connectRaw(bed.port)
  refused.socket.allowHalfOpen = true
  await refused.received(/ 503 /)
  const sending = setInterval(() => refused.send('more'), 20)
  await refused.ended()
  clearInterval(sending)
})

test('CONNECT behind a request that is being answered cuts the connection, and nobody else notices', async () => {
  const bed = await startServerBed()
  const [tunnelling, other] = await Promise.all([connectRaw(bed.port), connectRaw(bed.port)])
  tunnelling.send(`${get('/held')}CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n`)
  await tunnelling.ended()
  expect(tunnelling.text).toBe('')
  other.send(get('/empty'))
  await other.received(/ 204 /)
  other.socket.destroy()
  expect(await bed.drain(1_000)).toEqual({ cut: 0 })
})

test.each(['', 'body'])(
  'a request for another protocol is answered in this one, as the last of its connection (its body: "%s")',
  async (body) => {
    const { port } = await startServerBed()
    const client = await connectRaw(port)
    const headers = { connection: 'upgrade', upgrade: 'h2c', 'content-length': body.length }
    client.send(headOf('POST /echo HTTP/1.1', headers) + body + get('/empty'))
    expect(await client.ended()).toBe('closed')
    expect(client.statuses).toEqual([200])
    expect(client.text).toMatch(/connection: close\r\n/i)
  },
)

test('junk behind a request that is being answered is refused when that has its answer', async () => {
  const bed = await startServerBed()
  const client = await connectRaw(bed.port)
  client.send(`${get('/held')}junk\r\n\r\n`)
  await until(
    () => bed.seen,
    (seen) => seen.length === 1,
  )
  bed.release()
  await client.ended()
  expect(client.statuses).toEqual([200, 400])
  expect(client.text).toContain('held')
})

test('an app that answers twice, while its client is still reading, has answered once', async () => {
  const bed = await startServerBed()
  const client = await connectRaw(bed.port)
  client.send(get('/twice') + post('/echo', 'next'))
  await client.received(/4 next$/)
  expect(client.statuses).toEqual([200, 200])
  expect(client.text).not.toContain('again')
  client.socket.destroy()
  expect(await bed.drain(1_000)).toEqual({ cut: 0 })
})

test.each([
  { how: 'closes its side', leave: 'end' },
  { how: 'resets its connection', leave: 'resetAndDestroy' },
] as const)('a client that $how while it waits has left, once', async ({ leave }) => {
  const bed = await startServerBed()
  const client = await connectRaw(bed.port)
  client.send(get('/held'))
  await until(
    () => bed.seen,
    (seen) => seen.length === 1,
  )
  client.socket[leave]()
  await until(
    () => bed.seen,
    (seen) => seen.length === 2,
  )
  bed.release()
  expect(await bed.drain(1_000)).toEqual({ cut: 0 })
  expect(bed.seen).toEqual(['GET /held', 'left /held'])
})

test('a client that leaves in the middle of a body has left, and no answer is awaited', async () => {
  const bed = await startServerBed()
  const client = await connectRaw(bed.port)
  client.send(post('/echo', 'half').slice(0, -1))
  await until(
    () => bed.seen,
    (seen) => seen.length === 1,
  )
  client.socket.destroy()
  await until(
    () => bed.seen,
    (seen) => seen.includes('left /echo'),
  )
  expect(await bed.drain(1_000)).toEqual({ cut: 0 })
})

test('a client that closes its side behind its last answer is closed in order', async () => {
  const { port } = await startServerBed()
  const client = await connectRaw(port)
  client.send(post('/echo', 'a'))
  await client.received(/1 a$/)
  client.socket.end()
  expect(await client.ended()).toBe('closed')
})

describe('bodies that nobody reads', () => {
  test('an answer before the end of its request arrives whole, and is the last', async () => {
    const { port } = await startServerBed()
    const client = await connectRaw(port)
    const size = 5_000_000
    client.send(headOf('POST /refused HTTP/1.1', { 'content-length': size }))
    client.send(new Uint8Array(size))
    expect(await client.ended()).toBe('closed')
    expect(client.text).toMatch(/^HTTP\/1\.1 401 [^]*connection: close\r\n[^]*\r\n\r\nno$/i)
  })

  test('a body that has come all the same leaves the connection open', async () => {
    const { port } = await startServerBed()
    const client = await connectRaw(port)
    client.send(post('/refused', 'body') + post('/echo', 'next'))
    await client.received(/4 next$/)
    expect(client.statuses).toEqual([401, 200])
    client.socket.destroy()
  })

  test('a body over its limit is refused as soon as it is passed, with what still comes thrown away', async () => {
    const { port } = await startServerBed()
    const client = await connectRaw(port)
    client.send(headOf('POST /echo HTTP/1.1', { 'transfer-encoding': 'chunked' }))
    for (let nth = 0; nth < 30; nth++) client.send(`7a120\r\n${'x'.repeat(500_000)}\r\n`)
    expect(await client.ended()).toBe('closed')
    expect(client.statuses).toEqual([413])
  })
})

describe('expect: 100-continue', () => {
  const expecting = (path: string, length = 4): string =>
    headOf(`POST ${path} HTTP/1.1`, { 'content-length': length, expect: '100-Continue' })

  test('who is to send a body is asked for it', async () => {
    const { port } = await startServerBed()
    const client = await connectRaw(port)
    client.send(expecting('/echo'))
    await client.received(/^HTTP\/1\.1 100 Continue\r\n\r\n$/)
    client.send('body')
    await client.received(/4 body$/)
    client.socket.destroy()
  })

  test('who is refused is not asked for a body first', async () => {
    const { port } = await startServerBed()
    const client = await connectRaw(port)
    client.send(expecting('/refused'))
    await client.ended()
    expect(client.statuses).toEqual([401])
  })

  test.each([
    { who: 'who has no body', request: () => expecting('/echo', 0) },
    { who: 'HTTP/1.0', request: () => `${expecting('/echo').replace('1.1', '1.0')}body` },
  ])('$who is not asked', async ({ request }) => {
    const { port } = await startServerBed()
    const client = await connectRaw(port)
    client.send(request())
    await client.ended()
    expect(client.statuses).toEqual([200])
  })
})

describe('streams', () => {
  test('a piece goes out at once, in a frame, and the connection goes on behind the last', async () => {
    const bed = await startServerBed()
    const client = await connectRaw(bed.port)
    client.send(get('/pieces'))
    await client.received(/transfer-encoding: chunked\r\n\r\n4\r\none \r\n$/i)
    bed.release()
    await client.received(/3\r\ntwo\r\n0\r\n\r\n$/)
    client.send(post('/echo', 'next'))
    await client.received(/4 next$/)
    client.socket.destroy()
  })

  test('a piece without a byte is none, and does not end the stream', async () => {
    const { port } = await startServerBed()
    const client = await connectRaw(port)
    client.send(get('/hollow'))
    await client.received(/\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n$/)
    client.socket.destroy()
  })

  test.each([
    { version: '1.1', ending: 'closed' },
    { version: '1.0', ending: 'reset' },
  ])(
    'a stream that breaks keeps what has come, and HTTP/$version is $ending',
    async ({ version, ending }) => {
      const bed = await startServerBed()
      const client = await connectRaw(bed.port)
      client.send(get('/broken').replace('1.1', version))
      await client.received(/one /)
      bed.release()
      expect(await client.ended()).toBe(ending)
      expect(client.text).toMatch(version === '1.1' ? /4\r\none \r\n$/ : /\r\n\r\none $/)
      expect(await bed.drain(1_000)).toEqual({ cut: 0 })
    },
  )

  test('a client that does not read stops the stream, goes on with it later, and ends it by leaving', async () => {
    const bed = await startServerBed()
    const client = await connectRaw(bed.port)
    client.socket.pause()
    client.send(get('/endless'))
    const before = await stillAt(() => bed.given)
    expect(before).toBeLessThan(30_000_000)
    client.socket.removeAllListeners('data').resume()
    await until(
      () => bed.given,
      (given) => given > before + 20_000_000,
    )
    client.socket.destroy()
    await until(
      () => bed.seen,
      (seen) => seen.includes('left /endless') && seen.includes('cancelled'),
    )
  })
})

test('a client that closes its side has left, also where it does not read what is on its way', async () => {
  const bed = await startServerBed()
  const client = await connectRaw(bed.port)
  client.socket.pause()
  client.send(get('/endless'))
  await stillAt(() => bed.given)
  client.socket.end()
  await until(
    () => bed.seen,
    (seen) => seen.includes('left /endless') && seen.includes('cancelled'),
  )
  client.socket.destroy()
})

test('HTTP/1.0 needs no Host', async () => {
  const { port } = await startServerBed()
  const client = await connectRaw(port)
  client.send('GET /empty HTTP/1.0\r\n\r\n')
  await client.ended()
  expect(client.statuses).toEqual([204])
})

test('a header of an answer that would be two is an error, and not sent', async () => {
  const { port } = await startServerBed()
  const client = await connectRaw(port)
  client.send(get('/injected'))
  await client.received(/"internal_error"/)
  expect(client.statuses).toEqual([500])
  expect(client.text).not.toContain('set-cookie')
  client.socket.destroy()
})

test('the app may use the Fetch API on what comes in and goes out', async () => {
  const { port } = await startServerBed()
  const answer = await fetch(`http://127.0.0.1:${port}/fetch-api`, { headers: { 'X-A': 'a b' } })
  expect(await answer.text()).toBe(`a b 127.0.0.1:${port}`)
  expect(answer.headers.get('content-type')).toMatch(/^text\/plain/)
  const streamed = await fetch(`http://127.0.0.1:${port}/fetch-stream`)
  expect(await streamed.text()).toBe('a'.repeat(40 * 65_536))
})

test.each([
  { what: 'a target that makes no URL', head: 'GET a HTTP/1.1\r\nhost: h\r\n\r\n' },
  { what: 'a host that is a path', head: 'GET /empty HTTP/1.1\r\nhost: 1/v1/x?\r\n\r\n' },
  { what: 'CONNECT', head: 'CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n' },
])('$what is 400 in the words of the API', async ({ head }) => {
  const { port } = await startServerBed()
  const client = await connectRaw(port)
  client.send(head)
  await client.received(/"code":"bad_request"/)
  expect(client.statuses).toEqual([400])
  client.socket.destroy()
})

describe('time limits', () => {
  const never = 1_000_000

  test('a connection over which nothing comes is closed without a word', async () => {
    const { port } = await startServerBed({ headMs: 100 })
    const client = await connectRaw(port)
    expect(await client.ended()).toBe('closed')
    expect(client.text).toBe('')
  })

  test('a head that takes too long is 408, however it drips', async () => {
    const { port } = await startServerBed({ headMs: 300 })
    const client = await connectRaw(port)
    client.send('GET /empty HTTP/1.1\r\nhost: h\r\n')
    const dripping = setInterval(() => client.send('x-a: 1\r\n'), 20)
    await client.ended()
    clearInterval(dripping)
    expect(client.text).toMatch(/^HTTP\/1\.1 408 [^]*"code":"request_timeout"/)
  })

  test.each(['GET / HTTP/1.1\nhost: x', `GET / HTTP/1.1\r\nx: ${'x'.repeat(40_000)}`, '\u0016\u0003\u0001'])(
    'who sends no head of HTTP (%#) and stays is told so at once, and cut',
    async (text) => {
      const { port } = await startServerBed({ headMs: never, lingerMs: 50 })
      const client = await connectRaw(port)
      client.socket.allowHalfOpen = true
      client.send(text)
      await client.received(/ 4\d\d [^]*}$/)
      await cutOff(client)
      expect(client.statuses).toHaveLength(1)
    },
  )

  test('a client that stays behind a refused CONNECT is cut', async () => {
    const { port } = await startServerBed({ lingerMs: 50, longestLingerMs: never })
    const client = await connectRaw(port)
    client.socket.allowHalfOpen = true
    client.send('CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n')
    await client.received(/ 400 /)
    await cutOff(client)
  })

  test('a client that goes on sending behind its last answer is cut in the end', async () => {
    const { port } = await startServerBed({ lingerMs: never, longestLingerMs: 300 })
    const client = await connectRaw(port)
    client.socket.allowHalfOpen = true
    client.send(headOf('POST /refused HTTP/1.1', { 'content-length': 1_000_000 }))
    await client.received(/ 401 [^]*no$/)
    const sending = setInterval(() => client.send('more'), 20)
    await client.ended()
    clearInterval(sending)
  })

  test('a client that sends request after request behind its last answer is cut at once', async () => {
    const bed = await startServerBed({ lingerMs: never, longestLingerMs: never })
    const client = await connectRaw(bed.port)
    client.socket.allowHalfOpen = true
    client.send(post('/refused', 'x').slice(0, -1))
    await client.received(/ 401 [^]*no$/)
    client.send(`x${get('/empty').repeat(17)}`)
    await cutOff(client)
    expect(bed.seen).toEqual(['POST /refused'])
  })

  test('a connection that is kept is closed when no further request comes', async () => {
    const { port } = await startServerBed({ idleMs: 100 })
    const client = await connectRaw(port)
    client.send(post('/echo', 'a'))
    await client.received(/1 a$/)
    expect(await client.ended()).toBe('closed')
  })

  test('a request that is being answered is not hurried', async () => {
    const bed = await startServerBed({ headMs: 50, idleMs: 50, stalledWriteMs: 50, stalledStreamMs: 50 })
    const client = await askedFor('/held', bed)
    client.socket.resume()
    await new Promise((resolve) => setTimeout(resolve, 500))
    bed.release()
    await client.received(/held$/)
    client.socket.destroy()
  })

  test('a client that never closes behind its last answer is cut', async () => {
    const { port } = await startServerBed({ lingerMs: 50 })
    const client = await connectRaw(port)
    client.socket.allowHalfOpen = true
    client.send(get('/empty', { connection: 'close' }))
    await client.received(/ 204 /)
    await cutOff(client)
  })

  test.each([
    { what: 'a stream', path: '/endless', limits: { stalledStreamMs: 500, stalledWriteMs: 100 } },
    { what: 'an answer', path: '/twice', limits: { stalledStreamMs: never, stalledWriteMs: 300 } },
  ])('a client that takes nothing of $what has left in the end', async ({ path, limits }) => {
    const bed = await startServerBed(limits)
    const client = await askedFor(path, bed)
    await until(
      () => bed.seen,
      (seen) => seen.includes(`left ${path}`),
    )
    client.socket.destroy()
    expect(await bed.drain(1_000)).toEqual({ cut: 0 })
  })
})

test('OPTIONS * asks the server as such', async () => {
  const { port } = await startServerBed()
  const client = await connectRaw(port)
  client.send('OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n')
  await client.received(/ 404 /)
  client.socket.destroy()
})

describe('draining', () => {
  test('idle connections are closed at once, and an answer under way is the last of its connection', async () => {
    const bed = await startServerBed()
    const [idle, busy] = await Promise.all([connectRaw(bed.port), connectRaw(bed.port)])
    idle.send(get('/empty'))
    busy.send(get('/held') + get('/empty'))
    await idle.received(/ 204 /)
    await until(
      () => bed.seen,
      (seen) => seen.includes('GET /held'),
    )
    const drained = bed.drain(10_000)
    expect(await idle.ended()).toBe('closed')
    bed.release()
    expect(await busy.ended()).toBe('closed')
    expect(await drained).toEqual({ cut: 0 })
    expect(busy.text).toMatch(/connection: close\r\n[^]*held$/i)
    expect(bed.seen.filter((path) => path === 'GET /empty')).toHaveLength(1)
  })

  test('half a request is answered, as the last of its connection, while another keeps the server', async () => {
    const bed = await startServerBed()
    const [half, busy] = await Promise.all([connectRaw(bed.port), connectRaw(bed.port)])
    half.send(post('/echo', 'half').slice(0, 20))
    busy.send(get('/held'))
    await until(
      () => bed.seen,
      (seen) => seen.includes('GET /held'),
    )
    await new Promise((resolve) => setTimeout(resolve, 50))
    const drained = bed.drain(10_000)
    half.send(post('/echo', 'half').slice(20))
    expect(await half.ended()).toBe('closed')
    expect(half.text).toMatch(/connection: close\r\n[^]*4 half$/i)
    bed.release()
    expect(await drained).toEqual({ cut: 0 })
    await busy.ended()
  })

  test('what does not end in time is cut and counted', async () => {
    const bed = await startServerBed()
    const clients = await Promise.all([connectRaw(bed.port), connectRaw(bed.port)])
    for (const client of clients) client.send(get('/held'))
    await until(
      () => bed.seen,
      (seen) => seen.length === 2,
    )
    expect(await bed.drain(10)).toEqual({ cut: 2 })
    for (const client of clients) await client.ended()
  })
})
