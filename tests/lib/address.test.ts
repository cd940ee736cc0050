import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { clientAddress, createClientAddress, parseTrusted } from '../../src/lib/ip.ts'

const trusted = parseTrusted(['private'])
const proxy = '10.0.0.1'

describe('the client of a request', () => {
  test.each([
    {
      peer: '8.8.8.8',
      forwardedFor: '1.1.1.1',
      realIp: '2.2.2.2',
      client: '8.8.8.8',
      because: 'strangers are not believed',
    },
    { peer: proxy, client: proxy, because: 'nobody says otherwise' },
    { peer: proxy, forwardedFor: '1.1.1.1', client: '1.1.1.1', because: 'the proxy is believed' },
    {
      peer: proxy,
      forwardedFor: '6.6.6.6, 1.1.1.1',
      client: '1.1.1.1',
      because: 'what a client sends in front is not',
    },
    {
      peer: proxy,
      forwardedFor: '6.6.6.6, 1.1.1.1, 192.168.0.9, 127.0.0.1',
      client: '1.1.1.1',
      because: 'trusted hops are passed over',
    },
    {
      peer: proxy,
      forwardedFor: '192.168.0.7, 10.0.0.3',
      client: '192.168.0.7',
      because: 'with trusted hops only, the left-most is furthest away',
    },
    {
      peer: proxy,
      forwardedFor: '1.1.1.1',
      realIp: '2.2.2.2',
      client: '1.1.1.1',
      because: 'X-Forwarded-For comes first',
    },
    { peer: proxy, realIp: '2.2.2.2', client: '2.2.2.2', because: 'X-Real-IP is there alone' },
    { peer: proxy, realIp: ' 2.2.2.2 ', client: '2.2.2.2', because: 'blanks around it do not count' },
    {
      peer: proxy,
      forwardedFor: '',
      realIp: '2.2.2.2',
      client: '2.2.2.2',
      because: 'an empty X-Forwarded-For has no hops',
    },
    {
      peer: proxy,
      forwardedFor: ' , ,',
      realIp: '2.2.2.2',
      client: '2.2.2.2',
      because: 'empty elements are no hops',
    },
    { peer: proxy, forwardedFor: '1.1.1.1, , ', client: '1.1.1.1', because: 'empty elements are no hops' },
    { peer: proxy, realIp: 'unknown', client: proxy, because: 'X-Real-IP is no address' },
    { peer: proxy, realIp: '1.1.1.1, 2.2.2.2', client: proxy, because: 'X-Real-IP is not a list' },
    {
      peer: proxy,
      forwardedFor: 'unknown',
      realIp: '6.6.6.6',
      client: proxy,
      because: 'a hidden hop may have sent X-Real-IP itself',
    },
    {
      peer: proxy,
      forwardedFor: '6.6.6.6, unknown',
      client: proxy,
      because: 'what a hidden hop claims is not believed',
    },
    {
      peer: proxy,
      forwardedFor: '6.6.6.6, _hidden, 10.0.0.9',
      client: '10.0.0.9',
      because: 'the last believable hop counts',
    },
    {
      peer: proxy,
      forwardedFor: '6.6.6.6, <script>, 1.1.1.1',
      client: '1.1.1.1',
      because: 'junk behind the client is never reached',
    },
    {
      peer: proxy,
      forwardedFor: '1.1.1.1:5678',
      client: '1.1.1.1',
      because: 'a port is no part of the address',
    },
    {
      peer: proxy,
      forwardedFor: '[2001:DB8::1]:80',
      client: '2001:db8::1',
      because: 'a port is no part of the address',
    },
    {
      peer: proxy,
      forwardedFor: '[2001:db8::1]',
      client: '2001:db8::1',
      because: 'brackets are no part of it',
    },
    {
      peer: proxy,
      forwardedFor: '2001:0DB8:0::1',
      client: '2001:db8::1',
      because: 'one client has one spelling',
    },
    {
      peer: proxy,
      forwardedFor: '::ffff:1.1.1.1',
      client: '1.1.1.1',
      because: 'a mapped address is the IPv4 one',
    },
    {
      peer: proxy,
      forwardedFor: '[::ffff:1.1.1.1]:9',
      client: '1.1.1.1',
      because: 'a mapped address is the IPv4 one',
    },
    {
      peer: '::ffff:127.0.0.1',
      forwardedFor: '1.1.1.1',
      client: '1.1.1.1',
      because: 'a mapped peer is trusted like the IPv4 one',
    },
    { peer: '::ffff:8.8.8.8', client: '8.8.8.8', because: 'dual-stack sockets name IPv4 peers so' },
    { peer: '::1', forwardedFor: '1.1.1.1', client: '1.1.1.1', because: 'loopback is private' },
    { peer: 'fd12::1', forwardedFor: '1.1.1.1', client: '1.1.1.1', because: 'unique-local is private' },
    {
      peer: 'fe80::1%eth0',
      forwardedFor: '1.1.1.1',
      client: 'fe80::1',
      because: 'link-local is not private, and a zone is only ours',
    },
    { peer: '', forwardedFor: '1.1.1.1', client: 'unknown', because: 'a Unix socket has no address' },
    { peer: '@socket', forwardedFor: '1.1.1.1', client: '@socket', because: 'it is no address' },
  ])(
    '$peer for $forwardedFor / $realIp is $client, since $because',
    ({ client, peer, forwardedFor, realIp }) => {
      expect(clientAddress({ peer, forwardedFor, realIp, trusted })).toBe(client)
    },
  )

  test.each([
    '1.1.1.1:',
    '1.1.1.1:x',
    '1.1.1.1:123456',
    '[1::2',
    '1::2]',
    '[1::2]x',
    '[]',
    '010.1.1.1',
    '1.1.1.1%eth0',
    '%eth0',
    '"1.1.1.1"',
  ])('a hop %j is junk', (hop) => {
    expect(clientAddress({ peer: proxy, forwardedFor: hop, trusted })).toBe(proxy)
  })

  test('is the peer when nobody is trusted', () => {
    const nobody = parseTrusted([])
    expect(clientAddress({ peer: proxy, forwardedFor: '1.1.1.1', realIp: '2.2.2.2', trusted: nobody })).toBe(
      proxy,
    )
  })

  test('cannot be chosen by what a client puts in front of what a trusted proxy appends', () => {
    const address = fc
      .oneof(fc.ipV4(), fc.ipV6())
      .filter((text) => clientAddress({ peer: text, forwardedFor: '6.6.6.6', trusted }) !== '6.6.6.6')
    const forged = fc.oneof(
      fc.string(),
      fc.ipV4(),
      fc.constantFrom('unknown', '10.0.0.1', ',', ',,10.0.0.1', '[::1]:80'),
    )
    fc.assert(
      fc.property(forged, address, fc.string(), (front, client, realIp) => {
        const seen = clientAddress({ peer: proxy, forwardedFor: `${front}, ${client}`, realIp, trusted })
        expect(seen).toBe(clientAddress({ peer: client, trusted }))
      }),
    )
  })

  test('is never empty and never throws', () => {
    const text = fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.constant(proxy))
    fc.assert(
      fc.property(text, text, text, (peer, forwardedFor, realIp) => {
        expect(clientAddress({ peer, forwardedFor, realIp, trusted })).not.toBe('')
      }),
    )
  })

  test.each([
    ['commas', ','],
    ['trusted hops', '10.0.0.1,'],
    ['one endless hop', '1'],
    ['blanks', ' '],
    ['colons', ':'],
    ['brackets', '['],
    ['zones', '::1%'],
  ])('costs little when 64 KB of %s are sent', (_, piece) => {
    const text = piece.repeat(Math.ceil(65_536 / piece.length))
    const quickest = Math.min(
      ...Array.from({ length: 5 }, () => {
        const start = performance.now()
        clientAddress({ peer: proxy, forwardedFor: text, realIp: text, trusted })
        return performance.now() - start
      }),
    )
    expect(quickest, 'only the end is read').toBeLessThan(200)
  })

  test('behind more hops than are read is a trusted one, never half a hop', () => {
    const hops = Array.from({ length: 1_000 }, (_, i) => `172.31.${i >> 8}.${i & 255}`)
    for (let shift = 0; shift < 20; shift++) {
      const forwardedFor = `6.6.6.6, ${hops.join(', ')}${' '.repeat(shift)}`
      expect(hops).toContain(clientAddress({ peer: proxy, forwardedFor, trusted }))
    }
  })
})

describe('a list of trusted proxies', () => {
  test('takes single addresses, ranges and private', () => {
    const list = parseTrusted(['203.0.113.7', ' 2001:db8::/32 ', 'private'])
    for (const peer of ['203.0.113.7', '2001:db8:1::9', '192.168.1.1']) {
      expect(clientAddress({ peer, forwardedFor: '1.1.1.1', trusted: list })).toBe('1.1.1.1')
    }
    expect(clientAddress({ peer: '203.0.113.8', forwardedFor: '1.1.1.1', trusted: list })).toBe('203.0.113.8')
  })

  test.each(['localhost', '10.0.0.0/33', '', 'Private', '1.2.3.4:80', '10.0.0.0/8, 11.0.0.0/8'])(
    'refuses %j by name',
    (item) => {
      expect(() => parseTrusted(['private', item])).toThrow(JSON.stringify(item))
    },
  )
})

test('a client that is known again has the address that it had, however many there are', () => {
  const addressOf = createClientAddress(trusted)
  const text = fc.oneof(fc.ipV4(), fc.constantFrom('', proxy, '127.0.0.1', 'junk', '9'.repeat(300)))
  const source = fc.record({ peer: text, forwardedFor: text, realIp: text })
  fc.assert(
    fc.property(fc.array(source, { minLength: 1, maxLength: 600 }), (sources) => {
      for (const one of [...sources, ...sources.slice(0, 20)])
        expect(addressOf(one)).toBe(clientAddress({ ...one, trusted }))
    }),
    { numRuns: 30 },
  )
})
