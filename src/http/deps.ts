import type { IsUtf8 } from '../lib/json/utf8.ts'
import type { Config } from '../config/config.ts'
import type { EditKind, EditProblem } from '../config/edit.ts'
import type { shownConfig } from '../config/shown.ts'
import { upstreamsOf, type ListedBy } from '../config/upstreams.ts'
import { createClientAddress, parseTrusted } from '../lib/ip.ts'
import { fieldsFor } from '../openai/request.ts'
import { createPools } from '../pool/pool.ts'
import type { RequestLog } from '../events/requests.ts'
import type { RelayDeps } from '../relay/deps.ts'
import type { MaybePromise } from '../state/store.ts'
import type { Traces } from '../telemetry/traces.ts'
import type { TokenUsage } from '../state/token-usage.ts'
import { clientTokensOf, createClients } from './clients.ts'
import type { Live } from '../telemetry/live.ts'
import type { GatewayStatus, Say } from '../telemetry/status.ts'
import type { tokenStatusesOf, usageWithTokens } from '../telemetry/token-status.ts'
import type { Receive, BufferedBytes } from './incoming.ts'
import type { ToResponse } from './response.ts'

/** Everything that the app is given: what the relay needs, and what only HTTP does. */
export interface AppDeps extends RelayDeps {
  /** The configuration in force; asked once for each request. */
  readonly runtimeConfig: () => RuntimeConfig
  readonly receive: Receive
  readonly toResponse: ToResponse
  readonly memory: BufferedBytes
  /** The runtime's own, where it has one. */
  readonly isUtf8?: IsUtf8 | undefined
  readonly newId: () => string
  /** Begins the trace of a request; undefined where nothing is traced. */
  readonly trace?: Traces['begin'] | undefined
  /** True from the first signal to end until the end. */
  readonly isDraining: () => boolean
  readonly metricsText: () => MaybePromise<string>
  /** The requests that are remembered; absent where the runtime keeps none. */
  readonly requests?: RequestLog | undefined
  /** What `/admin/status` shows. */
  readonly status: () => MaybePromise<GatewayStatus>
  /** Our sentences in Chinese, for operators who ask for it; absent where the runtime has English alone. */
  readonly inChinese?: (() => MaybePromise<Say>) | undefined
  /** What `/` shows; undefined where this runtime has no page, which is a short text then. */
  readonly page?: (() => MaybePromise<Page | undefined>) | undefined
  /** What `/admin/tokens` shows. */
  readonly tokenStatuses: () => MaybePromise<ReturnType<typeof tokenStatusesOf>>
  readonly tokenUsage: TokenUsage
  /** What `/admin/usage` shows. */
  readonly usage: ReturnType<typeof usageWithTokens>
  /** What `/admin/events` shows. */
  readonly live: Pick<Live, 'watch'>
  /** The file of the configuration; undefined where there is none. */
  readonly configEditor?: (() => ConfigEditor | undefined) | undefined
}

/** A document that needs nothing beside it. */
export interface Page {
  readonly html: string
  /** The same, packed. */
  readonly gzip?: Uint8Array<ArrayBuffer>
  /** The content security policy that it is sent with. */
  readonly policy: string
  /** As the header has it, with its quotes. */
  readonly etag: string
}

/** What stands in a configuration file, without its secrets. */
export interface ShownFile extends ReturnType<typeof shownConfig> {
  /** Names the text that is shown; null where it can't be read, or there is no file. */
  readonly etag: string | null
  readonly file: string | null
  /** What is wrong with the file, where it was refused and an earlier one is served. */
  readonly problems: readonly EditProblem[]
}

/** What an edit has come to. */
export interface EditAnswer {
  readonly etag: string
  readonly problems: readonly EditProblem[]
  readonly warnings: readonly EditProblem[]
}

/** A configuration file that can be edited while it is served. */
export interface ConfigEditor {
  /** `problem`: why it can't be edited, whatever the rights. */
  readonly show: () => ShownFile & { readonly problem: string | null }
  /**
   * Makes one edit in the file, and serves it at once.
   * @param how.by who and how, for the log; `say`: the language of what is wrong with it
   * @throws GatewayError `bad_request`, `config_changed`, `config_invalid`, `config_not_writable`
   */
  readonly edit: (kind: EditKind, body: unknown, how: { by: string; say?: Say | undefined }) => EditAnswer
}

/** A configuration made ready for requests. Swapped whole at a reload; a request keeps the one it began with. */
export type RuntimeConfig = ReturnType<typeof createRuntimeConfig>

/** @throws Error for a `trusted_proxies` item that is no address, range or `private` */
export function createRuntimeConfig(config: Config, listedBy?: ListedBy) {
  const upstreams = upstreamsOf(config, listedBy)
  const { passthrough, unknownModel } = config.settings
  const named = upstreams.find(({ name }) => name === passthrough)
  const sole = upstreams.length === 1 ? upstreams[0] : undefined
  const edits = upstreams.flatMap((upstream) => Object.values(upstream.edits ?? {}))
  const pools = createPools(upstreams, unknownModel)
  const tokens = clientTokensOf(config, pools)
  return {
    config,
    pools,
    /** The fields that JSON bodies are searched for. */
    bodyFields: fieldsFor(edits),
    /** In the order of the file. */
    tokens,
    /** Whose token a text is. */
    clientOf: createClients(config, tokens),
    /** The address that a request counts as. */
    addressOf: createClientAddress(parseTrusted(config.server.trustedProxies)),
    /** The address that it surely comes from. */
    peerOf: createClientAddress(parseTrusted(config.server.namedProxies)),
    /** Where paths go that no pool serves; undefined = nowhere. */
    passthroughUpstream: passthrough === undefined ? sole : named,
  }
}
