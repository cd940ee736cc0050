import { answer } from '../support/scripted-scenes.ts'
import { about, failureRest, plays, testFaults, type Fault } from './matrix-bed.ts'

const page = (status: number): Fault['place'] =>
  plays(() =>
    answer({
      status,
      headers: { 'content-type': 'text/html', server: 'cloudflare', 'set-cookie': 'a=secret-of-the-page' },
      body: `<!DOCTYPE html><html><title>${status}</title><body>secret-of-the-page</body></html>`,
    }),
  )

const minutes = 60_000

testFaults([
  ...[500, 502, 504, 520, 522].map((status): Fault => ({
    fault: `a page in HTML with ${status}`,
    because: 'the vendor behind the page is down',
    place: page(status),
    exhausted: { status: 502, code: 'upstream_error' },
    rests: failureRest,
  })),
  {
    fault: 'a page in HTML with 503',
    because: 'the vendor behind the page has no room',
    place: page(503),
    exhausted: { status: 503, code: 'upstream_overloaded' },
    rests: failureRest,
  },
  {
    fault: 'a page in HTML with 403',
    because: 'the key or the country is not welcome',
    place: page(403),
    exhausted: { status: 502, code: 'upstream_auth_failed' },
    rests: { why: 'needs attention: key refused', ms: about(5 * minutes) },
  },
  {
    fault: 'a page in HTML with 404',
    because: 'the address is wrong',
    place: page(404),
    exhausted: { status: 404, code: 'unsupported_endpoint' },
    rests: {
      why: 'needs attention: model or endpoint not found',
      blockedBy: 'endpoint',
      ms: about(10 * minutes),
    },
  },
])
