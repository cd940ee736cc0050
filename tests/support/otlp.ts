/**
 * A collector of traces on a real socket, which takes nothing but what the JSON encoding of OTLP is.
 *
 * ```ts
 * const collector = await startCollector()
 * … traces go to collector.url …
 * const spans = await collector.spans(3)
 * ```
 */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as v from 'valibot'
import { until } from './until.ts'

const hex = (bytes: number) => v.pipe(v.string(), v.regex(new RegExp(`^(?!0+$)[0-9a-f]{${2 * bytes}}$`)))
/** 2020 to 2100. */
const nanos = v.pipe(v.string(), v.regex(/^(?:1[5-9]|[23]\d|4[01])\d{17}$/))
const anyValue = v.union([
  v.strictObject({ stringValue: v.string() }),
  v.strictObject({ boolValue: v.boolean() }),
  v.strictObject({ intValue: v.pipe(v.string(), v.regex(/^-?\d+$/)) }),
  v.strictObject({ doubleValue: v.number() }),
])
const attributes = v.array(v.strictObject({ key: v.pipe(v.string(), v.nonEmpty()), value: anyValue }))
const span = v.pipe(
  v.strictObject({
    traceId: hex(16),
    spanId: hex(8),
    parentSpanId: v.optional(hex(8)),
    name: v.pipe(v.string(), v.nonEmpty()),
    kind: v.picklist([1, 2, 3, 4, 5]),
    startTimeUnixNano: nanos,
    endTimeUnixNano: nanos,
    attributes,
    status: v.strictObject({ code: v.optional(v.picklist([0, 1, 2])), message: v.optional(v.string()) }),
  }),
  v.check(({ startTimeUnixNano: start, endTimeUnixNano: end }) => BigInt(start) <= BigInt(end)),
)
const scope = v.strictObject({ name: v.string(), version: v.string() })
const exportRequest = v.strictObject({
  resourceSpans: v.array(
    v.strictObject({
      resource: v.strictObject({ attributes }),
      scopeSpans: v.array(v.strictObject({ scope, spans: v.array(span) })),
    }),
  ),
})

type ExportRequest = v.InferOutput<typeof exportRequest>

/** A span with its attributes as an object, whole numbers as such. */
export interface ReadSpan extends Omit<v.InferOutput<typeof span>, 'attributes'> {
  readonly attributes: Readonly<Record<string, string | number | boolean>>
}

const plain = (list: v.InferOutput<typeof attributes>): ReadSpan['attributes'] =>
  Object.fromEntries(
    list.map(({ key, value }) => [
      key,
      'intValue' in value ? Number(value.intValue) : (Object.values(value)[0] as string),
    ]),
  )

/** @throws what is wrong with it */
export const readExport = (text: string): ExportRequest => v.parse(exportRequest, JSON.parse(text))

export const spansIn = ({ resourceSpans }: ExportRequest): ReadSpan[] =>
  resourceSpans
    .flatMap(({ scopeSpans }) => scopeSpans)
    .flatMap(({ spans }) => spans)
    .map((one) => ({ ...one, attributes: plain(one.attributes) }))

export const resourceOf = ({ resourceSpans }: ExportRequest): ReadSpan['attributes'] =>
  plain(resourceSpans.flatMap(({ resource }) => resource.attributes))

interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** Answers 200 to what is right and 400 to anything else; `answers` are statuses to give first, one after the other. */
export async function startCollector(answers: number[] = []) {
  const received: Received[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => void chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString()
      const first = answers.shift()
      if (first === undefined) received.push({ path: request.url ?? '', headers: request.headers, text })
      response.writeHead(first ?? (isExport(text) ? 200 : 400), { 'content-type': 'application/json' })
      response.end('{"partialSuccess":{}}')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const spans = (): ReadSpan[] => received.flatMap(({ text }) => spansIn(readExport(text)))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    /** All spans, as soon as there are so many. */
    spans: (atLeast: number): Promise<ReadSpan[]> => until(spans, ({ length }) => length >= atLeast),
    close(): void {
      server.closeAllConnections()
      server.close()
    },
  }
}

function isExport(text: string): boolean {
  try {
    readExport(text)
    return true
  } catch {
    return false
  }
}
