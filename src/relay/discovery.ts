import type { Config } from '../config/config.ts'
import {
  discoveriesOf,
  matchesGlobs,
  upstreamIdOf,
  type ListedBy,
  type ListedModel,
  type ModelSource,
} from '../config/upstreams.ts'
import { fingerprint } from '../lib/hash.ts'
import type { ModelLists } from '../state/model-lists.ts'
import type { RelayDeps } from './deps.ts'
import { fetchModelList, type ModelListEntry } from './model-list.ts'

interface DiscoveryDeps extends Pick<RelayDeps, 'send' | 'clock' | 'report' | 'abilities'> {
  /** What was listed before a restart. */
  readonly modelLists: ModelLists
}

/** Lists are asked for anew after this, and after a failure from 5 s on, doubling to an hour. */
const ASK_EVERY_MS = 86_400_000
const RETRY_MS = 5_000
const LONGEST_RETRY_MS = 3_600_000
/** So long a configuration waits for its lists before it is served without them. */
const FIRST_WAIT_MS = 5_000
/** A timer that is later than this does not come any more, nor does an answer that takes longer. */
const LATE_MS = 2_000
const LOST_AFTER_MS = 20_000

/** The list of one upstream, asked for with one key. */
interface SourceList {
  readonly source: ModelSource
  /** Undefined before the first good answer. */
  models: readonly ListedModel[] | undefined
  /** Those of `models` that the last good answer did not have. */
  missing: ReadonlySet<string>
  failures: number
  /** When it is asked for next, ms on the clock. */
  nextAt: number
  /** Settles with the answer to the last question, whatever it is. */
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
  const { clock, report, abilities, modelLists } = deps
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
    list.nextAt = clock.now() + pauseMs
    list.stop = clock.after(pauseMs, () => start(list, connectTimeoutMs))
  }

  function start(list: SourceList, connectTimeoutMs: number): void {
    // A question may be lost with the request that asked it.
    list.nextAt = clock.now() + LOST_AFTER_MS
    list.asked = ask(list, connectTimeoutMs)
  }

  /** Ends when these have been answered, after 5 s at most. */
  function answered(asking: readonly SourceList[]): Promise<void> {
    const all = Promise.all(asking.map(({ asked }) => asked))
    return new Promise((resolve) => {
      const stop = clock.after(FIRST_WAIT_MS, resolve)
      void all.then(stop).then(resolve)
    })
  }

  /** Takes in a good answer. */
  function take(list: SourceList, entries: readonly ModelListEntry[]): void {
    const { source, models: before = [], missing } = list
    const listed = new Map(entries.map(({ id, endpoints }) => [id, { id, endpoints }]))
    const absent = before.filter(({ id }) => !listed.has(id))
    const stay = new Set(absent.map(({ id }) => id).filter((id) => !missing.has(id)))
    list.missing = stay
    // In the order that they have: another would send embeddings for `auto` to another model.
    const known = before.filter(({ id }) => listed.has(id) || stay.has(id))
    const all = [...known.map((model) => [model.id, listed.get(model.id) ?? model] as const), ...listed]
    list.models = [...new Map(all).values()]
    const globs = wanted
      .filter((one) => sourceKeyOf(one.source) === sourceKeyOf(source))
      .map((one) => one.globs)
    for (const { id, told } of entries)
      if (globs.some((each) => matchesGlobs(id, each)))
        abilities.read(upstreamIdOf({ ...source, model: id }), told, clock.now())
    warnOfNothing(list)
    if (JSON.stringify(before) === JSON.stringify(list.models)) return
    modelLists.put(fingerprint(sourceKeyOf(source)), list.models)
    onChange()
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
      modelLists.prune(new Set([...keys].map(fingerprint)))
      for (const { source } of wanted) {
        if (lists.has(sourceKeyOf(source))) continue
        const list: SourceList = {
          source,
          models: modelLists.of(fingerprint(sourceKeyOf(source))),
          missing: new Set(),
          failures: 0,
          nextAt: Infinity,
          asked: Promise.resolve(),
          stop: () => {},
        }
        lists.set(sourceKeyOf(source), list)
        start(list, config.settings.connectTimeoutMs)
      }
      for (const list of lists.values()) warnOfNothing(list)
      const unknown = [...lists.values()].filter(
        ({ models, failures }) => models === undefined && failures === 0,
      )
      return unknown.length === 0 ? undefined : answered(unknown)
    },
    /**
     * Asks for what a timer should have asked for by now: on runtimes whose timers end with the request that set them.
     * Undefined where nothing is overdue.
     */
    askOverdue(connectTimeoutMs: number): Promise<void> | undefined {
      const overdue = [...lists.values()].filter(({ nextAt }) => nextAt + LATE_MS <= clock.now())
      for (const list of overdue) {
        list.stop()
        start(list, connectTimeoutMs)
      }
      return overdue.length === 0 ? undefined : answered(overdue)
    },
    /** Whether each list is known: till then a model may be there and not be seen. */
    isComplete: () => [...lists.values()].every(({ models }) => models !== undefined),
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
  return `${entry.path}.models: matches none of the ${models.length} models that ${host} lists; correct it`
}

/** Tells whose list of models it is. */
export const sourceKeyOf = ({ root, query, apiKey, headers, route }: ModelSource): string =>
  JSON.stringify([root, query, apiKey, headers, route?.key])
