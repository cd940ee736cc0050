/**
 * What does the gateway cost next to the limit (nginx), to a bare proxy and to its peers? All in one run.
 *
 *     npm run bench:http -- [--proxies a,b] [--loads small,large] [--seconds 2] [--rounds 10] [--warm 12]
 *     npm run bench:http -- --duel aiload,bare --duel aiload@../older,aiload
 *
 * One core for the proxy, the other for load and upstream. Every proxy is warmed up; then each load is measured in
 * rounds that go forth and back through all of them. A ratio compares what two cost in the same round; told is the
 * median of the rounds with its order-statistic interval of 95 % or more. The table compares with the bare proxy; a
 * duel has no others between its two, so it is the one to trust where a ratio matters. `aiload@DIR` is another
 * build: DIR holds `dist/`, `config/` and `package.json`.
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
    warm: { type: 'string', default: '12' },
    streams: { type: 'string', default: '1000,5000' },
  },
})
const seconds = Number(values.seconds)
const rounds = Number(values.rounds)
const asked = values.loads.split(',').filter((name) => name !== 'streams')
const counts = values.loads.includes('streams') ? values.streams.split(',').map(Number) : []

const matches = values.duel.map((names) => {
  const duelists = proxiesNamed(names)
  if (duelists.length !== 2) throw new Error(`a duel is between two, ${names} are ${duelists.length}`)
  return duelists
})
const all: Results[] = []
if (matches.length === 0) console.log(tableOf(await measured(proxiesNamed(values.proxies))))
for (const match of matches) console.log(`${duelTable(await measured(match))}\n`)
writeFileSync(
  join(root, 'bench/http/results.json'),
  JSON.stringify(
    { date: new Date().toISOString(), node: process.version, runs: all.map(rawOf) },
    undefined,
    1,
  ),
)
process.exit(0)

/** Measures some proxies with all loads, in the rounds described above. */
async function measured(wanted: readonly Proxy[]): Promise<Results> {
  const bed = await createBed()
  const entries: Entry[] = []
  const missing: string[] = []
  for (const proxy of wanted) {
    try {
      entries.push(await bed.enter(proxy, Number(values.warm)))
    } catch (error) {
      missing.push(`${proxy.name}: ${error instanceof Error ? error.message : 'it could not be started'}`)
    }
  }
  // Before the loads: afterwards a heap that has grown would hide what streams take.
  for (const entry of entries) for (const count of counts) await bed.holdStreams(entry, count)
  const direct = new Map<string, LoadResult>()
  for (const name of asked) {
    if (loads[name]?.unit !== 'request') direct.set(name, await bed.direct(name, seconds))
    for (const entry of entries) await bed.measure(entry, name, seconds)
    for (const { figures } of entries) figures.delete(name)
    for (let round = 0; round < rounds; round++) {
      for (const entry of round % 2 === 0 ? entries : entries.toReversed()) {
        await bed.measure(entry, name, seconds)
      }
    }
    console.error(`${name}: ${rounds} rounds done`)
  }
  await bed.close(entries)
  const results = { entries, direct, loads: asked, counts, missing }
  all.push(results)
  return results
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
