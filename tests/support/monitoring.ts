import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

/** What `config/grafana/` and `config/prometheus/` hold. */

const textOf = (file: string): string =>
  readFileSync(new URL(`../../config/${file}`, import.meta.url), 'utf8')

interface Asking {
  readonly datasource?: unknown
}
interface Target extends Asking {
  readonly expr: string
}
export interface Panel extends Asking {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: Readonly<Record<'x' | 'y' | 'w' | 'h', number>>
  readonly targets?: readonly Target[]
}
interface Dashboard {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly (Asking & { readonly name: string })[] }
  readonly annotations: { readonly list: readonly (Asking & { builtIn?: number; expr?: string })[] }
}

export const dashboard = (): Dashboard => JSON.parse(textOf('grafana/dashboard.json')) as Dashboard

/** All that a dashboard asks Prometheus, but for the values of its variables. */
export const expressionsOf = ({ panels, annotations }: Dashboard): string[] => [
  ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...annotations.list.flatMap(({ expr }) => expr ?? []),
]

interface AlertRule {
  readonly alert: string
  readonly expr: string
}

export function alerts(): AlertRule[] {
  const { groups } = parse(textOf('prometheus/alerts.yml')) as { groups: { rules: AlertRule[] }[] }
  return groups.flatMap(({ rules }) => rules)
}

/** The names of metrics in a text, in order, each once; those of a histogram by its own name. */
export function metricsIn(text: string): string[] {
  const names = text.match(/\b(?:aiload|process|nodejs)_[a-z\d_]+\b|\bup(?=\{)/g) ?? []
  return [...new Set(names.map((name) => name.replace(/_(?:bucket|sum|count)$/, '')))].toSorted()
}
