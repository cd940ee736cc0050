/**
 * What does the gateway cost next to the limit (nginx), to a bare proxy and to its peers? All in one run.
 *
 *     npm run bench:http -- [--proxies a,b] [--loads small,large] [--seconds 2] [--rounds 10] [--warm 12]
 *     npm run bench:http -- --duel aiload,bare --duel aiload@../older,aiload
 *
 * One core for the proxy, the other for load and upstream. Every proxy is warmed up; then each load is measured in
 * rounds that go forth and back through all of them. A ratio compares what two cost in the same round; told is the
 * median of the rounds with its order-statistic interval of 95 % or more. The table compares with the bare proxy; a
 * duel has no others between its two and starts them anew for each load, so it is the one to trust where a ratio
 * matters: a heap that other loads have made grow collects large bodies at half the cost. The interval is that of the
 * processes that ran; `--starts 4` starts them so often for each load and puts all rounds together. `aiload@DIR` is
 * another build: DIR holds `dist/`, `config/` and `package.json`.
 * CPU comes from the scheduler's account of the process tree. Prints Markdown, and writes the raw figures to
 * `bench/http/results.json`. Linux. Needs `npm run build`; what is not installed is listed as missing: the runtimes
 * come with `npm run test:runtimes`, peers with `npm run bench:peers`, nginx and haproxy from Debian.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../../tests/runtime/tools.ts'
import { createBed, type Entry } from './bed.ts'
import { duelTable } from './duel-table.ts'
import type { LoadResult } from './load.ts'
import { loads } from './loads.ts'
import { proxiesNamed } from './proxies.ts'
import type { Proxy } from './start-proxy.ts'
import { ratioOf, tableOf, type Results } from './table.ts'

const { values } = parseArgs({
  options: {
    proxies: { type: 'string', default: '' },
    duel: { type: 'string', multiple: true, default: [] },
    loads: { type: 'string', default: 'small,steady,paced,thousand,large,fields,late,huge' },
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '10' },
    starts: { type: 'string', default: '1' },
    warm: { type: 'string', default: '12' },
    streams: { type: 'string', default: '1000,5000' },
  },
})
const seconds = Number(values.seconds)
const rounds = Number(values.rounds)
const warmSeconds = Number(values.warm)
/** Every load heats up code and heap of its own, before its first round. */
const loadWarmSeconds = Math.max(seconds, warmSeconds / 2)
const asked = values.loads.split(',').filter((name) => name !== 'streams')
const counts = values.loads.includes('streams') ? values.streams.split(',').map(Number) : []

const matches = values.duel.map((names) => {
  const duelists = proxiesNamed(names)
  if (duelists.length !== 2) throw new Error(`a duel is between two, ${names} are ${duelists.length}`)
  return duelists
})
const all: Results[] = []
if (matches.length === 0) console.log(tableOf(kept(await measured(proxiesNamed(values.proxies), asked))))
for (const match of matches) console.log(`${duelTable(kept(await duelled(match)))}\n`)
writeFileSync(
  join(root, 'bench/http/results.json'),
  JSON.stringify(
    { date: new Date().toISOString(), node: process.version, runs: all.map(rawOf) },
    undefined,
    1,
  ),
)
process.exit(0)

/** A duel starts its two anew for each load, and once more for each start that was asked for. */
async function duelled(match: readonly Proxy[]): Promise<Results> {
  const begun = Array.from({ length: Number(values.starts) }, () => asked).flat()
  const parts: Results[] = []
  for (const name of begun) parts.push(await measured(match, [name]))
  const entries = parts.flatMap((part) => part.entries)
  const first = match.flatMap((proxy) => entries.find((entry) => entry.proxy === proxy) ?? [])
  for (const { proxy, figures } of first) {
    for (const again of entries.filter((entry) => entry.proxy === proxy && entry.figures !== figures)) {
      for (const [name, more] of again.figures) figures.set(name, [...(figures.get(name) ?? []), ...more])
    }
  }
  const direct = new Map(parts.flatMap((part) => [...part.direct]))
  const missing = [...new Set(parts.flatMap((part) => part.missing))]
  return { entries: first, direct, loads: asked, counts: [], missing }
}

function kept(results: Results): Results {
  all.push(results)
  return results
}

/** Measures some proxies with some loads, in the rounds described above. */
async function measured(wanted: readonly Proxy[], names: readonly string[]): Promise<Results> {
  const bed = await createBed()
  const entries: Entry[] = []
  const missing: string[] = []
  for (const proxy of wanted) {
    try {
      entries.push(await bed.enter(proxy, warmSeconds))
    } catch (error) {
      missing.push(`${proxy.name}: ${error instanceof Error ? error.message : 'it could not be started'}`)
    }
  }
  // Before the loads: afterwards a heap that has grown would hide what streams take.
  for (const entry of entries) for (const count of counts) await bed.holdStreams(entry, count)
  const direct = new Map<string, LoadResult>()
  for (const name of names) {
    if (loads[name]?.unit !== 'request') direct.set(name, await bed.direct(name, seconds))
    for (const entry of entries) await bed.measure(entry, name, loadWarmSeconds)
    for (const { figures } of entries) figures.delete(name)
    for (let round = 0; round < rounds; round++) {
      for (const entry of round % 2 === 0 ? entries : entries.toReversed()) {
        await bed.measure(entry, name, seconds)
      }
    }
    console.error(`${name}: ${rounds} rounds done`)
  }
  await bed.close(entries)
  return { entries, direct, loads: names, counts, missing }
}

function rawOf({ entries, direct, missing }: Results): object {
  const [one, other] = entries
  const ratios =
    one === undefined || other === undefined || entries.length > 2
      ? {}
      : Object.fromEntries(asked.map((name) => [name, ratioOf(one, other, name)]))
  return {
    missing,
    ratios,
    direct: Object.fromEntries(direct),
    entries: entries.map(({ proxy, atRest, writesModel, figures, streams }) => ({
      id: proxy.id,
      name: proxy.name,
      version: proxy.version(),
      atRest,
      writesModel,
      figures: Object.fromEntries(figures),
      streams: Object.fromEntries(streams),
    })),
  }
}
