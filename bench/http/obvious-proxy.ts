/** What is compared with: the port that anybody would write in ten minutes, on Hono and the runtime's own fetch. */
import { serve } from '@hono/node-server'
import { Hono } from 'hono'

const [port = 0, upstream] = process.argv.slice(2).map(Number)
const app = new Hono()
app.post('/v1/chat/completions', async (c) => {
  const body: object = await c.req.json()
  const answer = await fetch(`http://127.0.0.1:${upstream}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer k' },
    body: JSON.stringify({ ...body, model: 'm' }),
    signal: c.req.raw.signal,
  })
  return new Response(answer.body, { status: answer.status, headers: answer.headers })
})
serve({ fetch: app.fetch, port, hostname: '127.0.0.1' })
