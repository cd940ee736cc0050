import { expect, test } from 'vitest'
import { tracesFrom } from '../../src/config/traces.ts'
import { loadConfig } from '../../src/config/load.ts'
import { configOf } from './texts.ts'

const MODELS = [{ base_url: 'https://a.example', model: 'm' }]
const settingsOf = (settings: object) => configOf(JSON.stringify({ models: MODELS, settings })).settings
const none = settingsOf({})
const BASE = 'OTEL_EXPORTER_OTLP_ENDPOINT'

test.each([
  ['http://localhost:4318', 'http://localhost:4318/v1/traces'],
  ['http://localhost:4318/', 'http://localhost:4318/v1/traces'],
  ['https://otel.example/api/otel', 'https://otel.example/api/otel/v1/traces'],
  ['https://otel.example/v1/traces', 'https://otel.example/v1/traces'],
  ['https://otel.example/?tenant=a', 'https://otel.example/v1/traces?tenant=a'],
])('the endpoint %s takes traces at %s', (endpoint, url) => {
  expect(tracesFrom(settingsOf({ traces: { endpoint } }), {}).traces).toEqual({
    url,
    route: undefined,
    headers: {},
    sample: 1,
    obeysParent: true,
    everyMs: 5_000,
    resource: { 'service.name': 'aiload' },
  })
  expect(tracesFrom(none, { [BASE]: endpoint }).traces?.url).toBe(url)
})

test.each([
  [{ traces: {} }, 'settings.traces.endpoint: is missing'],
  [{ traces: { endpoint: 'localhost:4318' } }, 'settings.traces.endpoint: is not a URL with http'],
  [{ traces: { endpoint: 'http://me:sk-secret@a.example' } }, 'settings.traces.endpoint: has credentials'],
  [
    { traces: { endpoint: 'http://a.example', sample: 2 } },
    'settings.traces.sample: must be a number from 0 to 1',
  ],
  [
    { traces: { endpoint: 'http://a.example', headers: { host: 'sk-secret' } } },
    'settings.traces.headers.host',
  ],
  [{ traces: [] }, 'settings.traces: must be an object, not a list'],
])('%j is refused where it is wrong, and no value is repeated', (settings, where) => {
  const loaded = loadConfig(JSON.stringify({ models: MODELS, settings }), {}, 'config.json')
  const told = loaded.ok ? [] : loaded.problems.map(({ path, message }) => `${path}: ${message}`)
  expect(told).toEqual([expect.stringContaining(where)])
  expect(JSON.stringify(loaded)).not.toContain('sk-secret')
})

test('what the file says goes before the environment, and none of its headers go to the other place', () => {
  const settings = settingsOf({
    traces: {
      endpoint: 'http://file.example',
      headers: { 'X-Key': 'a' },
      sample: 0.25,
      service_name: 'file',
    },
  })
  const env = {
    [BASE]: 'http://env.example',
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=secret',
    OTEL_TRACES_SAMPLER: 'always_off',
    OTEL_TRACES_EXPORTER: 'none',
    OTEL_SERVICE_NAME: 'env',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=staging',
  }
  expect(tracesFrom(settings, env).traces).toMatchObject({
    url: 'http://file.example/v1/traces',
    headers: { 'x-key': 'a' },
    sample: 0.25,
    resource: { 'service.name': 'file', 'deployment.environment.name': 'staging' },
  })
  expect(tracesFrom(settings, { OTEL_SDK_DISABLED: 'true' })).toEqual({})
})

test.each([
  { env: {}, traces: undefined, because: 'nobody asked for them' },
  { env: { [BASE]: '  ' }, traces: undefined, because: 'it is empty' },
  {
    env: { [BASE]: 'http://a.example', OTEL_TRACES_EXPORTER: 'none' },
    traces: undefined,
    because: 'others use it',
  },
  {
    env: { [BASE]: 'http://a.example', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://b.example/as/it/is' },
    traces: { url: 'http://b.example/as/it/is' },
    because: 'that of traces is taken as it is',
  },
  {
    env: {
      [BASE]: 'http://a.example',
      OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Basic%20YTpi, x-a=1,broken,=2,x-b=%',
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'x-a=2',
    },
    traces: { headers: { authorization: 'Basic YTpi', 'x-a': '2' } },
    because: 'values are escaped, those of traces win, and what is none is left out',
  },
  {
    env: { [BASE]: 'http://a.example', OTEL_RESOURCE_ATTRIBUTES: 'service.name=named' },
    traces: { resource: { 'service.name': 'named' } },
    because: 'the resource may have the name',
  },
  ...(
    [
      ['', '', 1, true],
      ['always_on', '', 1, false],
      ['parentbased_always_off', '', 0, true],
      ['traceidratio', '0.1', 0.1, false],
      ['parentbased_traceidratio', '0.5', 0.5, true],
      ['parentbased_traceidratio', 'much', 1, true],
    ] as const
  ).map(([sampler, argument, sample, obeysParent]) => ({
    env: { [BASE]: 'http://a.example', OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: argument },
    traces: { sample, obeysParent },
    because: `that is what ${sampler || 'no sampler'} says`,
  })),
])('of $env.OTEL_TRACES_SAMPLER in the environment it reads $traces, since $because', ({ env, traces }) => {
  const found = tracesFrom(none, env)
  expect(found.problem).toBeUndefined()
  if (traces === undefined) expect(found.traces).toBeUndefined()
  else expect(found.traces).toMatchObject(traces)
})

test.each([
  [{ [BASE]: 'sk-secret' }, /^no traces are sent: OTEL_EXPORTER_OTLP_ENDPOINT is not a URL/],
  [
    { [BASE]: 'http://a.example', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    /grpc, and only http\/json is spoken/,
  ],
  [{ [BASE]: 'http://a.example', OTEL_TRACES_SAMPLER: 'jaeger_remote' }, /OTEL_TRACES_SAMPLER is not/],
  [{ [BASE]: 'http://a.example', OTEL_EXPORTER_OTLP_HEADERS: 'a=sk-secret%0A' }, /what no header can carry/],
])('what is wrong with %j is told, and nothing is traced', (env, problem) => {
  const found = tracesFrom(none, env)
  expect(found.traces).toBeUndefined()
  expect(found.problem).toMatch(problem)
  expect(found.problem).not.toContain('sk-secret')
})

test('a collector is reached through the proxy that everything else goes through', () => {
  const env = { HTTPS_PROXY: 'http://proxy.example:3128', NO_PROXY: 'near.example' }
  const routeTo = (endpoint: string, more = {}) =>
    tracesFrom(settingsOf({ traces: { endpoint }, ...more }), env).traces?.route?.proxy?.host
  expect(routeTo('https://far.example')).toBe('proxy.example')
  expect(routeTo('https://near.example')).toBeUndefined()
  expect(routeTo('https://far.example', { proxy: 'direct' })).toBeUndefined()
  expect(routeTo('https://far.example', { proxy: 'http://own.example:1' })).toBe('own.example')
})
