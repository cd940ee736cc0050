import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { tableBelow } from './support/markdown.ts'
import { alerts, dashboard, expressionsOf, metricsIn, type Panel } from './support/monitoring.ts'

/** The dashboard and the alert rules ask for what there is. What Prometheus and Grafana say of them: `npm run test:metrics`. */

const textOf = (file: string): string => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')
const known = metricsIn(textOf('src/telemetry/metrics.ts'))
/** Those of Prometheus itself. */
const OF_PROMETHEUS = new Set(['up'])
const unknownIn = (expressions: readonly string[]): string[] =>
  [...new Set(expressions.flatMap(metricsIn))].filter((name) => !known.includes(name)).toSorted()

describe('the dashboard', () => {
  const { panels, templating, annotations } = dashboard()
  const shown = panels.filter(({ type }) => type !== 'row')

  test('every query asks for metrics that there are, and every metric is asked for', () => {
    const expressions = expressionsOf(dashboard())
    expect(expressions.length).toBeGreaterThan(30)
    expect(unknownIn(expressions)).toEqual([])
    // Both modes of the processor are shown, so their sum is not.
    expect(known.filter((name) => !expressions.flatMap(metricsIn).includes(name))).toEqual([
      'nodejs_eventloop_lag_seconds',
      'nodejs_heap_size_total_bytes',
      'process_cpu_seconds_total',
    ])
  })

  test('panels have numbers and titles of their own, and lie over none other', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length)
    const overlapping = panels.flatMap((one, at) =>
      panels.slice(at + 1).filter((other) => overlaps(one, other)),
    )
    expect(overlapping.map(({ title }) => title)).toEqual([])
    for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
  })

  test('everything is asked of the data source that is chosen on top', () => {
    const [source, ...variables] = templating.list
    expect(source).toMatchObject({ name: 'datasource', type: 'datasource', query: 'prometheus' })
    const own = annotations.list.filter(({ builtIn }) => builtIn === undefined)
    const asking = [...shown, ...shown.flatMap(({ targets }) => targets ?? []), ...variables, ...own]
    for (const { datasource } of asking)
      expect(datasource).toEqual({ type: 'prometheus', uid: '${datasource}' })
  })

  test('variables that queries use are there', () => {
    const builtIn = ['__rate_interval', '__range']
    const there = new Set([...templating.list.map(({ name }) => name), ...builtIn])
    const used = expressionsOf(dashboard()).flatMap((text) =>
      [...text.matchAll(/\$(\w+)/g)].map(([, name]) => name),
    )
    expect([...new Set(used)].filter((name) => !there.has(name ?? ''))).toEqual([])
  })
})

function overlaps({ gridPos: a }: Panel, { gridPos: b }: Panel): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
}

describe('the alert rules', () => {
  test('they ask for metrics that there are', () => {
    expect(unknownIn(alerts().map(({ expr }) => expr)).filter((name) => !OF_PROMETHEUS.has(name))).toEqual([])
  })

  test('each has a case in which it fires and one in which it does not', () => {
    const { tests } = parse(textOf('config/prometheus/alerts.test.yml')) as {
      tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[]
    }
    const cases = tests.flatMap(({ alert_rule_test: all }) => all)
    const withCase = (fires: boolean): string[] => [
      ...new Set(
        cases.filter((one) => one.exp_alerts.length > 0 === fires).map(({ alertname }) => alertname),
      ),
    ]
    const names = alerts().map(({ alert }) => alert)
    expect(withCase(true)).toEqual(names)
    expect(withCase(false)).toEqual(names)
  })

  test.each([
    { file: 'docs/operate.md', heading: '## Alerts' },
    { file: 'docs/operate.zh.md', heading: '## 告警' },
  ])('$file tells of each', ({ file, heading }) => {
    const rows = tableBelow(textOf(file), heading).map(([first = '']) => first.replaceAll('`', ''))
    expect(rows).toEqual(alerts().map(({ alert }) => alert))
  })
})

test.each([
  { file: 'docs/operate.md', heading: '## Metrics' },
  { file: 'docs/operate.zh.md', heading: '## 指标' },
])('$file has a row for each metric', ({ file, heading }) => {
  const rows = tableBelow(textOf(file), heading).map(([first = '']) => first)
  expect(rows.flatMap(metricsIn).toSorted()).toEqual(known)
})
