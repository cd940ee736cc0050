import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { healthy } from '../support/believable.ts'
import { runAiload, temporaryDirectory } from '../support/gateway-process.ts'
import { startScriptedUpstream } from '../support/scripted-upstream.ts'
import { vendorCertificate } from '../support/test-certificate.ts'

/** A proxy for HTTP CONNECT that leads every name to one port of this machine: the world, as far as the gateway can see. */
async function startWorld(port: number) {
  const asked: string[] = []
  const proxy = createServer()
  proxy.on('connect', ({ url = '' }, socket: net.Socket) => {
    asked.push(url)
    const upstream = net.connect(port, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
    upstream.pipe(socket).pipe(upstream)
    for (const end of [socket, upstream]) end.on('error', () => {})
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  onTestFinished(() => void proxy.close())
  return { asked, url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` }
}

const MINUTE_MS = 60_000

test(
  'with one key in an empty environment and no file: one command serves, another asks, within a minute',
  async () => {
    const vendor = await startScriptedUpstream(healthy('Hello from Groq'), { secure: vendorCertificate })
    const world = await startWorld(vendor.port)
    const directory = temporaryDirectory()
    writeFileSync(join(directory, 'ca.pem'), vendorCertificate.cert)
    const started = performance.now()
    // What stands in for the world, and nothing else beside the one variable.
    const scenery = { HTTPS_PROXY: world.url, NODE_EXTRA_CA_CERTS: join(directory, 'ca.pem') }
    const env = { PATH: process.env['PATH'] ?? '', ...scenery, GROQ_API_KEY: 'gsk_the-only-one' }
    const script = fileURLToPath(new URL('../../config/from-source.mjs', import.meta.url))
    const gateway = spawn(process.execPath, [script, 'start', '--port', '0', '--host', '127.0.0.1'], {
      cwd: directory,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void gateway.kill('SIGKILL'))
    let said = ''
    for await (const chunk of gateway.stdout.setEncoding('utf8') as AsyncIterable<string>) {
      said += chunk
      if (said.includes('curl http')) break
    }

    // The line to try, as it was printed; `aiload` is the command that prints the token.
    const messages = said
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { message: string }).message)
    const line = messages.find((message) => message.startsWith('curl ')) ?? ''
    const { stdout: token } = await runAiload(['token', '--show'], { directory, env })
    const curl = line.replace('$(aiload token --show)', token.trim())
    const [, url = '', bearer = '', body = ''] =
      /^curl (\S+) -H "(Authorization: [^"]+)" -H "Content-Type: application\/json" -d '(.+)'$/.exec(curl) ??
      []
    const answer = await fetch(url, {
      method: 'POST',
      headers: { authorization: bearer.replace('Authorization: ', ''), 'content-type': 'application/json' },
      body,
    })
    expect(answer.status).toBe(200)
    const { choices } = (await answer.json()) as { choices: { message: { content: string } }[] }
    expect(choices[0]?.message.content).toBe('Hello from Groq')
    expect(performance.now() - started).toBeLessThan(MINUTE_MS)
    expect(new Set(world.asked)).toEqual(new Set(['api.groq.com:443']))
    expect(vendor.requests[0]?.headers['authorization']).toBe('Bearer gsk_the-only-one')
    await vendor.close()
  },
  MINUTE_MS,
)
