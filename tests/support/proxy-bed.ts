/** Proxies and upstreams that end with the test they are started in. */
import { onTestFinished } from 'vitest'
import { completion } from './believable.ts'
import { startHttpProxy, startSocksProxy, type TestProxyOptions } from './proxies.ts'
import { answer } from './scripted-scenes.ts'
import { startScriptedUpstream, type ScriptedUpstreamOptions } from './scripted-upstream.ts'

/** Closes what was started when the test ends. */
export async function opened<T extends { close(): Promise<void> }>(starting: Promise<T>): Promise<T> {
  const one = await starting
  onTestFinished(() => one.close())
  return one
}
export const httpProxy = (options?: TestProxyOptions) => opened(startHttpProxy(options))
export const socksProxy = (options?: TestProxyOptions) => opened(startSocksProxy(options))
/** Answers whatever comes. */
export const upstreamThat = (options?: ScriptedUpstreamOptions) =>
  opened(startScriptedUpstream(answer({ body: completion() }), options))
