import { errorBody, events } from '../support/believable.ts'
import { answer } from '../support/scripted-scenes.ts'
import { failureRest, plays, testFaults, type Fault } from './matrix-bed.ts'

const bad = { exhausted: { status: 502, code: 'upstream_bad_response' }, rests: failureRest }
/** As the HTTP error that it is: here a 500. */
const failed = { exhausted: { status: 502, code: 'upstream_error' }, rests: failureRest }
const streamed = { body: { stream: true } }
const errorEvent = `data: ${errorBody('server_error', 'The server had an error')}\n\n`

const redirects = [301, 302, 303, 307, 308].map((status): Fault => ({
  fault: `redirect ${status}`,
  because: 'a prompt goes where the configuration says, and nowhere else',
  place: plays(() => answer({ status, headers: { location: 'http://127.0.0.1:1/elsewhere' } })),
  ...bad,
}))

const odd = [204, 205, 304, 600, 999].map((status): Fault => ({
  fault: `status ${status}`,
  because: 'it has nothing that a client asked for',
  place: plays(() => answer({ status, framing: status === 204 || status === 304 ? 'close' : 'length' })),
  ...bad,
}))

testFaults([
  { fault: 'an empty 200', because: 'it holds nothing', place: plays(() => answer({ body: '' })), ...bad },
  {
    fault: '200 with a page in HTML',
    because: 'a proxy or a login page has answered',
    place: plays(() => answer({ headers: { 'content-type': 'text/html' }, body: '<html>Sign in</html>' })),
    ...bad,
  },
  {
    fault: '200 with nothing but an error',
    because: 'the error has hidden its status',
    place: plays(() => answer({ body: errorBody('server_error') })),
    ...failed,
  },
  {
    fault: 'a stream whose first event is an error',
    because: 'nothing of it has reached the client',
    place: plays(() => events(errorEvent)),
    ...streamed,
    ...failed,
  },
  {
    fault: 'a stream whose first event is called error, after comments',
    because: 'comments are no answer',
    place: plays(() => events([': hello\n\n', '\n\n', `event: error\n${errorEvent}`])),
    ...streamed,
    ...failed,
  },
  {
    fault: 'a stream without an event',
    because: 'it holds nothing',
    place: plays(() => events([': nothing\n\n'])),
    ...streamed,
    ...bad,
  },
  {
    fault: 'a failed Responses stream behind its preamble',
    because: 'created and in_progress are no content',
    place: plays(() =>
      events([
        'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"}}\n\n',
        'event: response.failed\ndata: {"type":"response.failed","response":{"error":{"code":"server_error","message":"x"}}}\n\n',
      ]),
    ),
    ...streamed,
    ...failed,
  },
  ...redirects,
  ...odd,
])
