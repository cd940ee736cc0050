import { afterEach, beforeEach, expect } from 'vitest'
import { streamOf as readable } from '../../src/lib/bytes.ts'
import {
  type Send,
  TransportError,
  type TransportFailure,
  type UpstreamRequest,
  type UpstreamResponse,
} from '../../src/transport/transport.ts'
import {
  type Scene,
  type ScriptedUpstream,
  type ScriptedUpstreamOptions,
  startScriptedUpstream,
} from '../support/scripted-upstream.ts'

/** A transport under test. */
export interface Subject {
  readonly send: Send
  close(): Promise<void>
}

/** Makes a fresh one for each test. */
export type CreateSubject = () => Subject

/** What a transport can do that not every one can. */
export interface Capabilities {
  /**
   * Has connections of its own: gives up connecting after `connectTimeoutMs` (else `timeoutMs` covers that
   * too), replaces a kept one that turns out to be dead, opens no more of them than it needs.
   */
  readonly ownConnections: boolean
  /**
   * Goes through a proxy. One for HTTP says nothing until it has the upstream, so silence may be its own; by way of any the
   * end of a connection may be heard later than 200 ms after the request, where the machine is busy.
   */
  readonly proxy?: 'http' | 'socks'
  /** The highest status that it lets through. */
  readonly highestStatus: number
  /** Notices that a coded body lacks its end. */
  readonly noticesCutCoding: boolean
  /** Tells a reset from the end of a body without a length. */
  readonly noticesResetOfUndelimitedBody: boolean
  /** Takes a 304 that announces a length. */
  readonly takesLengthOfBodiless: boolean
}

/** Where the tests of a suite get their upstreams and send their requests; it clears up after each test. */
export interface Bed {
  start(scene: Scene, options?: ScriptedUpstreamOptions): Promise<ScriptedUpstream>
  /** A POST of a small JSON body unless told otherwise. */
  send(
    to: { url: string },
    change?: Partial<UpstreamRequest>,
    signal?: AbortSignal,
  ): Promise<UpstreamResponse>
}

export function createBed(create: CreateSubject): Bed {
  let subject: Subject
  let upstreams: ScriptedUpstream[] = []

  beforeEach(() => {
    subject = create()
    upstreams = []
  })
  afterEach(async () => {
    await subject.close()
    await Promise.all(upstreams.map((upstream) => upstream.close()))
  })

  return {
    async start(scene, options) {
      const upstream = await startScriptedUpstream(scene, options)
      upstreams.push(upstream)
      return upstream
    },
    send: ({ url }, change, signal = new AbortController().signal) =>
      subject.send(
        {
          method: 'POST',
          url: `${url}/v1/chat/completions`,
          headers: { 'content-type': 'application/json', 'accept-encoding': 'identity' },
          body: [bytesOf('{"model":"x"}')],
          connectTimeoutMs: 2000,
          timeoutMs: 5000,
          gatherBytes: () => 1_000_000,
          ...change,
        },
        signal,
      ),
  }
}

/** Wants every answer as a stream. */
export const asStream = { gatherBytes: () => 0 }

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

export function textOf(body: UpstreamResponse['body']): string {
  expect(body).toBeInstanceOf(Uint8Array)
  return new TextDecoder().decode(body as Uint8Array)
}

export function streamOf({ body }: UpstreamResponse): ReadableStream<Uint8Array> {
  if (body instanceof Uint8Array) return expect.fail('the body is there at once')
  return readable(body)
}

export async function readAll(body: UpstreamResponse['body'] | ReadableStream<Uint8Array>): Promise<Buffer> {
  if (body instanceof Uint8Array) return Buffer.from(body)
  const chunks: Uint8Array[] = []
  for await (const chunk of body instanceof ReadableStream ? body : readable(body)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** What a promise is rejected with, as a kind; it has to be a `TransportError`. */
export async function failureOf(work: Promise<unknown>): Promise<TransportFailure> {
  const error = await work.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(TransportError)
  return (error as TransportError).failure
}

/** Waits until something is so; the test's own timeout ends it otherwise. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 2))
}

/** The value that a growing number keeps for 200 ms. */
export async function settled(read: () => number): Promise<number> {
  for (let before = -1, now = read(); ; before = now, now = read()) {
    if (before === now) return now
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Nobody reads the flood of `upstream`: it stands still, and goes on when somebody reads. */
export async function expectBackPressure(
  upstream: ScriptedUpstream,
  response: UpstreamResponse,
): Promise<void> {
  const sent = await settled(() => upstream.bytesSent)
  // What the kernel's buffers of both ends may hold, and not a hundred times as much.
  expect(sent).toBeLessThan(16 * 2 ** 20)

  const reader = streamOf(response).getReader()
  for (let read = 0; read < 2 * sent; read += (await reader.read()).value?.length ?? 0);
  await until(() => upstream.bytesSent > sent)
  await reader.cancel()
}
