import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import type { UsagePointStatus, UsageStatus } from '../telemetry/usage.ts'
import { usePage } from './context.ts'
import { amountText, msText } from './format.ts'
import type { Lang, WordKey } from './words.ts'

const RANGES = ['hour', 'day', 'days'] as const
type Range = (typeof RANGES)[number]

interface Line {
  readonly word: WordKey
  /** A custom property of the style. */
  readonly color: string
  readonly of: (point: UsagePointStatus) => number | null
  readonly dash?: boolean
}

interface ChartKind {
  readonly title: WordKey
  readonly isStacked: boolean
  readonly lines: readonly Line[]
  readonly text: (value: number) => string
  /** What is told of all points together. */
  readonly summary: 'sum' | 'last'
}

const CHARTS: readonly ChartKind[] = [
  {
    title: 'chartOutcomes',
    isStacked: true,
    lines: [
      { word: 'answeredCount', color: '--good', of: ({ answered }) => answered },
      { word: 'refusedCount', color: '--wait', of: ({ refused }) => refused },
      { word: 'failedCount', color: '--bad', of: ({ failed }) => failed },
      { word: 'clientCount', color: '--muted', of: ({ client_faults: faults }) => faults },
      { word: 'leftCount', color: '--line-strong', of: ({ left }) => left },
    ],
    text: amountText,
    summary: 'sum',
  },
  {
    title: 'chartTokens',
    isStacked: true,
    lines: [
      { word: 'inputTokens', color: '--muted', of: ({ input_tokens: tokens }) => tokens },
      { word: 'outputTokens', color: '--ink', of: ({ output_tokens: tokens }) => tokens },
    ],
    text: amountText,
    summary: 'sum',
  },
  {
    title: 'chartFirstByte',
    isStacked: false,
    lines: [
      { word: 'median', color: '--ink', of: ({ first_byte_ms: first }) => first?.p50 ?? null },
      { word: 'p95', color: '--muted', of: ({ first_byte_ms: first }) => first?.p95 ?? null, dash: true },
    ],
    text: msText,
    summary: 'last',
  },
]

/** The traffic of the last hour, day or days. */
export function Charts({ usage }: { usage: UsageStatus }) {
  const { t } = usePage()
  const [range, setRange] = useState<Range>('hour')
  const points = usage[range]?.points ?? []
  const isQuiet = points.every(
    ({ answered, refused, failed, client_faults: faults, left }) =>
      answered + refused + failed + faults + left === 0,
  )
  return (
    <section aria-labelledby="charts">
      <div class="title-line">
        <h2 id="charts">{t('charts')}</h2>
        <div role="group" aria-label={t('range')} class="choice">
          {RANGES.map((one) => (
            <button key={one} type="button" aria-pressed={one === range} onClick={() => setRange(one)}>
              {t(one)}
            </button>
          ))}
        </div>
      </div>
      {isQuiet && <p class="muted">{t('noTraffic')}</p>}
      <div class="charts">
        {!isQuiet &&
          CHARTS.map((kind) => <Chart key={kind.title} kind={kind} points={points} range={range} />)}
      </div>
    </section>
  )
}

const HEIGHT = 150

function Chart({
  kind,
  points,
  range,
}: {
  kind: ChartKind
  points: readonly UsagePointStatus[]
  range: Range
}) {
  const { t, lang, theme } = usePage()
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const [pointed, setPointed] = useState<number>()
  const data = useMemo(() => dataOf(kind, points), [kind, points])
  const latest = useRef(data)
  latest.current = data

  useEffect(() => {
    const element = place.current
    if (element === null) return undefined
    const made = new uPlot(
      optionsOf(kind, { lang, range, width: element.clientWidth, onPoint: setPointed }),
      latest.current,
      element,
    )
    plot.current = made
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
    }
  }, [kind, range, lang, theme])
  useEffect(() => plot.current?.setData(data), [data])

  const valueOf = (line: Line): string => {
    const values = points.map(line.of)
    const one = pointed === undefined ? undefined : values[pointed]
    if (one != null) return kind.text(one)
    if (pointed !== undefined) return '–'
    if (kind.summary === 'sum') return kind.text(values.reduce<number>((sum, value) => sum + (value ?? 0), 0))
    const last = values.findLast((value) => value !== null)
    return last == null ? '–' : kind.text(last)
  }
  const legend = kind.lines.map((line) => ({ line, text: t(line.word), value: valueOf(line) }))
  const sums = legend.map(({ text, value }) => `${text} ${value}`).join(', ')
  return (
    <figure>
      <figcaption>{t(kind.title)}</figcaption>
      <div ref={place} class="plot" role="img" aria-label={t('chartText', { title: t(kind.title), sums })} />
      <ul class="legend">
        {legend.map(({ line, text, value }) => (
          <li key={line.word}>
            <i style={{ background: `var(${line.color})` }} aria-hidden="true" />
            {text} <b>{value}</b>
          </li>
        ))}
      </ul>
    </figure>
  )
}

/** Stacked lines are drawn from the highest sum down, so that each covers the part below it. */
function dataOf({ lines, isStacked }: ChartKind, points: readonly UsagePointStatus[]): uPlot.AlignedData {
  const times = points.map(({ at }) => Date.parse(at) / 1000)
  if (!isStacked) return [times, ...lines.map(({ of }) => points.map(of))]
  let sums = points.map(() => 0)
  const stacked = lines.map(
    ({ of }) => (sums = points.map((point, at) => (sums[at] ?? 0) + (of(point) ?? 0))),
  )
  return [times, ...stacked.toReversed()]
}

const STEP_SECONDS: Readonly<Record<Range, number>> = { hour: 60, day: 3_600, days: 86_400 }

interface PlotTask {
  readonly lang: Lang
  readonly range: Range
  readonly width: number
  readonly onPoint: (at: number | undefined) => void
}

function optionsOf(kind: ChartKind, { lang, range, width, onPoint }: PlotTask): uPlot.Options {
  const style = getComputedStyle(document.documentElement)
  const colorOf = (name: string): string => style.getPropertyValue(name).trim()
  const lines = kind.isStacked ? kind.lines.toReversed() : kind.lines
  const time: Intl.DateTimeFormatOptions =
    range === 'days'
      ? { month: 'short', day: 'numeric' }
      : { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }
  const format = new Intl.DateTimeFormat(lang, time)
  const axis = {
    stroke: colorOf('--muted'),
    font: `11px ${style.fontFamily}`,
    grid: { stroke: colorOf('--line'), width: 1 },
    ticks: { show: false },
  }
  const step = STEP_SECONDS[range]
  const bars = uPlot.paths.bars?.({ size: [0.7, 24], gap: 1 })
  return {
    width,
    height: HEIGHT,
    padding: [8, 14, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: !kind.isStacked }, drag: { x: false, y: false } },
    scales: {
      // Half a step more at either end, where half of a bar would be cut.
      x: { range: (_plot, from, to) => [from - step / 2, to + step / 2] },
      y: { range: (_plot, _low, high) => [0, Math.max(1, high * 1.05)] },
    },
    axes: [
      {
        ...axis,
        size: 24,
        grid: { show: false },
        space: 70,
        values: (_plot, splits) => splits.map((s) => format.format(s * 1000)),
      },
      {
        ...axis,
        size: 52,
        space: 36,
        values: (_plot, splits) => splits.map((split) => (split % 1 === 0 ? kind.text(split) : '')),
      },
    ],
    series: [
      {},
      ...lines.map(({ color, dash }) => ({
        stroke: colorOf(color),
        ...(kind.isStacked && { fill: colorOf(color), width: 0, ...(bars && { paths: bars }) }),
        ...(!kind.isStacked && { width: 1.5, spanGaps: true, ...(dash && { dash: [4, 3] }) }),
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [({ cursor }) => onPoint(cursor.idx ?? undefined)] },
  }
}
