/** What is compared with: a proxy on node:http that writes the model into the body, and does nothing else. */
import http from 'node:http'

const [port, upstream] = process.argv.slice(2).map(Number)
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity })

http
  .createServer((incoming, outgoing) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>
      const bytes = Buffer.from(JSON.stringify({ ...body, model: 'm' }))
      const request = http.request(
        {
          port: upstream,
          host: '127.0.0.1',
          path: incoming.url,
          method: 'POST',
          agent,
          headers: {
            'content-type': 'application/json',
            authorization: 'Bearer k',
            'content-length': bytes.length,
          },
        },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
          answer.pipe(outgoing)
        },
      )
      request.on('error', () => outgoing.destroy())
      outgoing.on('close', () => request.destroy())
      request.end(bytes)
    })
  })
  .listen(port, '127.0.0.1', 4_096)
