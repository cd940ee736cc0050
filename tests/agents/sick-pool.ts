/**
 * A gateway over pools of two: an upstream that is sick in one of the ways of the world, asked first, and a healthy one.
 * Each pair has upstreams of its own, so that what rests in one is asked in another.
 */
import { errorBody } from '../support/believable.ts'
import { startGateway, type GatewayProcess } from '../support/gateway-process.ts'
import { answer, type Answer } from '../support/scripted-scenes.ts'
import { startScriptedUpstream, type Scene, type ScriptedUpstream } from '../support/scripted-upstream.ts'
import {
  askedOf,
  chatEvent,
  completionOf,
  DONE,
  healthyModel,
  modelWithoutStreams,
  preambleOf,
  responseEvent,
  responseOf,
  STREAM_TYPE,
  type Asked,
} from './model.ts'

/** One answer where a stream was asked for, and another one where none was. */
const sick =
  (stream: (asked: Asked) => Answer, whole: (asked: Asked) => Answer): Scene =>
  (exchange) => {
    const asked = askedOf(exchange)
    const play: Answer = asked.isStream
      ? { headers: STREAM_TYPE, framing: 'chunked', ...stream(asked) }
      : whole(asked)
    return answer(play)(exchange)
  }
const always = (play: Answer): Scene => answer(play)

const PROVIDER_ERROR = JSON.stringify({ error: { message: 'Provider returned error', code: 502 } })
const PAGE = '<!doctype html><title>Attention Required</title><h1>You are unable to access this page</h1>'
const RATE_LIMITED: Answer = {
  status: 429,
  headers: { 'retry-after': '30' },
  body: errorBody('rate_limit_exceeded'),
}
/** For ever, as far as a test can tell. */
const SILENCE = new Promise<never>(() => {})

/** The way in which an upstream is sick. */
export const sicknesses: Readonly<Record<string, Scene>> = {
  'an error behind the role': sick(
    (asked) => ({ body: [preambleOf(asked), 50, `data: ${PROVIDER_ERROR}\n\n`] }),
    () => ({ body: PROVIDER_ERROR }),
  ),
  'a failed response': sick(
    ({ isChat, ...asked }) => ({
      body: isChat
        ? `data: ${errorBody('server_error')}\n\n`
        : [
            preambleOf({ isChat, ...asked }),
            responseEvent('response.failed', {
              response: {
                ...responseOf('failed'),
                error: { code: 'server_error', message: 'The model failed to answer.' },
              },
            }),
          ],
    }),
    () => ({
      body: JSON.stringify({ ...responseOf('failed'), error: { code: 'server_error', message: 'x' } }),
    }),
  ),
  '200 with an error': always({
    body: JSON.stringify({ code: 1302, msg: 'Rate limit reached for requests' }),
  }),
  'cut behind the preamble': sick(
    (asked) => ({ body: preambleOf(asked), ending: 'reset' }),
    () => ({ body: '{"id":"x","choices":[{"index"', framing: 400, ending: 'close' }),
  ),
  'silent behind the preamble': sick(
    (asked) => ({ body: [preambleOf(asked), SILENCE] }),
    () => ({ body: [' ', SILENCE] }),
  ),
  'an empty answer': sick(
    (asked) => ({
      body: [
        preambleOf(asked),
        asked.isChat
          ? chatEvent({}, 'stop') + DONE
          : responseEvent('response.completed', { response: responseOf('completed') }),
      ],
    }),
    ({ isChat }) => ({
      body: JSON.stringify(isChat ? completionOf({ content: '' }, 'stop') : responseOf('completed')),
    }),
  ),
  'no streams': modelWithoutStreams,
  'refused in words': always({
    status: 400,
    body: JSON.stringify({ detail: "Tool type 'function' is not supported by this deployment" }),
  }),
  moderation: always({
    status: 403,
    body: errorBody('content_policy_violation', 'Your request was flagged by our content policy.'),
  }),
  'out of credit under 400': always({
    status: 400,
    body: JSON.stringify({ code: 'Arrearage', message: 'Access denied, your account is in arrears.' }),
  }),
  'an odd status': always({ status: 424, body: JSON.stringify({ error: 'dependency failed' }) }),
  'a page under 403': always({ status: 403, headers: { 'content-type': 'text/html' }, body: PAGE }),
  'a page under 200': always({ headers: { 'content-type': 'text/html' }, body: PAGE }),
  'rate-limited': always(RATE_LIMITED),
}

const names = Object.keys(sicknesses)

export interface SickPool {
  readonly gateway: GatewayProcess
  /** The model name of the pair with that sickness. */
  readonly pairOf: (sickness: string) => string
  /** How often the sick one of a pair was asked. */
  readonly askedOf: (sickness: string) => number
  close(): Promise<void>
}

/** The model name of all upstreams together, of which half are sick. */
export const ALL = 'all'
/** The model name of one upstream, which is slow to say that it is at its limit. */
export const LIMITED = 'limited'
/** So many turns in turn ask every one of them. */
export const TURNS_FOR_ALL = names.length

/** @param strategy `in_order`: the sick one of a pair is asked first; `round_robin`: each begins in its turn */
export async function startSickPool(strategy: 'in_order' | 'round_robin'): Promise<SickPool> {
  const well = await startScriptedUpstream(healthyModel)
  const upstreams: ScriptedUpstream[] = []
  for (const scene of Object.values(sicknesses)) upstreams.push(await startScriptedUpstream(scene))
  const limited = await startScriptedUpstream(async (exchange) => {
    // Long enough for some comments.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    await answer(RATE_LIMITED)(exchange)
  })
  const pairs = upstreams.flatMap(({ url }, nth) => {
    const one = { model: 'm', groups: [ALL, `pair-${nth}`] }
    return [
      { ...one, name: `sick-${nth}`, base_url: `${url}/v1`, api_key: `sick-key-${nth}` },
      { ...one, name: `well-${nth}`, base_url: `${well.url}/v1`, api_key: `well-key-${nth}` },
    ]
  })
  const gateway = await startGateway({
    models: [...pairs, { model: LIMITED, base_url: `${limited.url}/v1` }],
    settings: { strategy, affinity: 'off', timeout: 2, heartbeat: 0.5 },
  })
  return {
    gateway,
    pairOf: (sickness) => `pair-${names.indexOf(sickness)}`,
    askedOf: (sickness) => upstreams[names.indexOf(sickness)]?.requests.length ?? 0,
    async close() {
      await gateway.stop()
      for (const upstream of [well, limited, ...upstreams]) await upstream.close()
    },
  }
}
