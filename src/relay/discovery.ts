import type { Config } from '../config/config.ts'
import {
  discoveriesOf,
  matchesGlobs,
  upstreamIdOf,
  type ListedBy,
  type ListedModel,
  type ModelSource,
} from '../config/upstreams.ts'
import type { RelayDeps } from './deps.ts'
import { fetchModelList, type ModelListEntry } from './model-list.ts'

type DiscoveryDeps = Pick<RelayDeps, 'send' | 'clock' | 'report' | 'abilities'>

/** Lists are asked for anew after this, and after a failure from 5 s on, doubling to an hour. */
const ASK_EVERY_MS = 86_400_000
const RETRY_MS = 5_000
const LONGEST_RETRY_MS = 3_600_000
/** So long a configuration waits for its lists before it is served without them. */
const FIRST_WAIT_MS = 5_000

/** The list of one upstream, asked for with one key. */
interface SourceList {
  readonly source: ModelSource
  /** Undefined before the first good answer. */
  models: readonly ListedModel[] | undefined
  /** Those of `models` that the last good answer did not have. */
  missing: ReadonlySet<string>
  failures: number
  /** Settles with the first answer, whatever it is. */
  asked: Promise<void>
  stop: () => void
}

/**
 * Asks upstreams for their models where the configuration names none: at start, daily, and sooner after a failure. One
 * good answer without a model may be a slip of the upstream, so a model leaves with the second.
 *
 * @param onChange called when a list has changed
 */
export function createDiscovery(deps: DiscoveryDeps, onChange: () => void) {
  const { clock, report, abilities } = deps
  const lists = new Map<string, SourceList>()
  /** What was said of globs that match nothing, so that it is said once. */
  const warned = new Set<string>()
  let wanted: ReturnType<typeof discoveriesOf> = []

  const notice = (level: 'info' | 'warning', message: string): void =>
    report({ kind: 'notice', level, message })

  async function ask(list: SourceList, connectTimeoutMs: number): Promise<void> {
    const { source } = list
    const host = new URL(source.root).host
    const answer = await fetchModelList({ ...source, connectTimeoutMs }, deps)
    const isWanted = lists.get(sourceKeyOf(source)) === list
    if (!isWanted) return
    if ('failure' in answer) {
      if (list.failures === 0)
        notice('warning', `the list of models of ${host} ${answer.failure}; it is asked for again`)
      list.failures += 1
    } else {
      list.failures = 0
      take(list, answer.models)
    }
    const pauseMs =
      list.failures === 0 ? ASK_EVERY_MS : Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** (list.failures - 1))
    list.stop = clock.after(pauseMs, () => void ask(list, connectTimeoutMs))
  }

  /** Takes in a good answer. */
  function take(list: SourceList, entries: readonly ModelListEntry[]): void {
    const { source, models: before = [], missing } = list
    const listed = new Set(entries.map(({ id }) => id))
    const absent = before.filter(({ id }) => !listed.has(id))
    const stay = absent.filter(({ id }) => !missing.has(id))
    list.missing = new Set(stay.map(({ id }) => id))
    list.models = [...entries.map(({ id, endpoints }) => ({ id, endpoints })), ...stay]
    const globs = wanted
      .filter((one) => sourceKeyOf(one.source) === sourceKeyOf(source))
      .map((one) => one.globs)
    for (const { id, told } of entries)
      if (globs.some((each) => matchesGlobs(id, each)))
        abilities.read(upstreamIdOf({ ...source, model: id }), told, clock.now())
    warnOfNothing(list)
    if (JSON.stringify(before) !== JSON.stringify(list.models)) onChange()
  }

  function warnOfNothing({ source, models }: SourceList): void {
    for (const one of wanted) {
      if (sourceKeyOf(one.source) !== sourceKeyOf(source) || models === undefined) continue
      const message = unmatchedText(one, models)
      if (message === undefined || warned.has(message)) continue
      warned.add(message)
      notice('warning', message)
    }
  }

  return {
    /** What is known now. */
    listedBy: ((source) => lists.get(sourceKeyOf(source))?.models) satisfies ListedBy,
    /** Takes on a configuration. The promise ends when each of its lists was asked for once, after 5 s at most; undefined where none is missing. */
    expect(config: Config): Promise<void> | undefined {
      wanted = discoveriesOf(config)
      const keys = new Set(wanted.map(({ source }) => sourceKeyOf(source)))
      for (const [key, { stop }] of lists) {
        if (keys.has(key)) continue
        stop()
        lists.delete(key)
      }
      for (const { source } of wanted) {
        if (lists.has(sourceKeyOf(source))) continue
        const list: SourceList = {
          source,
          models: undefined,
          missing: new Set(),
          failures: 0,
          asked: Promise.resolve(),
          stop: () => {},
        }
        lists.set(sourceKeyOf(source), list)
        list.asked = ask(list, config.settings.connectTimeoutMs)
      }
      for (const list of lists.values()) warnOfNothing(list)
      const unknown = [...lists.values()].filter(
        ({ models, failures }) => models === undefined && failures === 0,
      )
      if (unknown.length === 0) return undefined
      const all = Promise.all(unknown.map(({ asked }) => asked))
      return new Promise((resolve) => {
        const stop = clock.after(FIRST_WAIT_MS, resolve)
        void all.then(stop).then(resolve)
      })
    },
    /** Of the entries whose lists are known, what those say that match nothing. */
    unmatched: () =>
      wanted.flatMap((one) => {
        const models = lists.get(sourceKeyOf(one.source))?.models
        const message = models && unmatchedText(one, models)
        return message === undefined ? [] : [message]
      }),
    /** Asks no more. */
    close(): void {
      for (const { stop } of lists.values()) stop()
      lists.clear()
    },
  }
}

function unmatchedText(
  { entry, globs, source }: ReturnType<typeof discoveriesOf>[number],
  models: readonly ListedModel[],
): string | undefined {
  if (models.some(({ id }) => matchesGlobs(id, globs))) return undefined
  const host = new URL(source.root).host
  return `${entry.path}.models: none of the ${models.length} models that ${host} lists is meant by it; correct it`
}

/** Tells whose list of models it is. */
export const sourceKeyOf = ({ root, query, apiKey, headers, route }: ModelSource): string =>
  JSON.stringify([root, query, apiKey, headers, route?.key])
