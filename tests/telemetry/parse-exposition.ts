/** A sample as Prometheus would store it. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** A metric family: what `# TYPE` announced and the samples that followed it. */
export interface Family {
  readonly type: string
  readonly help: string
  readonly samples: Sample[]
}

/**
 * Reads the text format 0.0.4 as strictly as its description allows: HELP and TYPE once and before the
 * samples, families in one piece, no series twice, histograms cumulative and complete.
 *
 * @throws Error at the first line that a scraper could refuse
 */
export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  const families = new Map<string, Family>()
  let help: { name: string; text: string } | undefined
  let current: { name: string; family: Family } | undefined
  for (const line of text.slice(0, -1).split('\n')) {
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (kind === 'HELP') {
      help = { name, text: rest }
    } else if (kind === 'TYPE') {
      if (help?.name !== name || families.has(name)) throw new Error(`misplaced: ${line}`)
      if (!['counter', 'gauge', 'histogram'].includes(rest)) throw new Error(`no type: ${line}`)
      current = { name, family: { type: rest, help: help.text, samples: [] } }
      families.set(name, current.family)
    } else {
      if (current === undefined) throw new Error(`no family: ${line}`)
      current.family.samples.push(sampleOf(line, current))
    }
  }
  for (const [name, family] of families) check(name, family)
  return families
}

function sampleOf(line: string, { name, family }: { name: string; family: Family }): Sample {
  const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/s.exec(line)
  if (match === null) throw new Error(`no sample: ${line}`)
  const [, own = '', inner = '', number = ''] = match
  const suffix = own.slice(name.length)
  const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
  if (!own.startsWith(name) || !suffixes.includes(suffix)) throw new Error(`${own} is not of ${name}`)
  if (!/^[+-]?(\d+(\.\d+)?(e[+-]?\d+)?|Inf)$/.test(number)) throw new Error(`no number: ${line}`)
  return { name: own, labels: labelsOf(inner), value: number === '+Inf' ? Infinity : Number(number) }
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  let rest = text
  while (rest !== '') {
    const match = /^([a-zA-Z_]\w*)="((?:[^"\\]|\\[\\"n])*)"(,|$)/.exec(rest)
    if (match === null) throw new Error(`no label: ${rest}`)
    const [whole, name = '', value = ''] = match
    if (name in labels) throw new Error(`${name} twice`)
    labels[name] = value.replaceAll(/\\(.)/g, (_, sign: string) => (sign === 'n' ? '\n' : sign))
    rest = rest.slice(whole.length)
  }
  return labels
}

function check(name: string, { type, samples }: Family): void {
  const keys = samples.map((sample) => JSON.stringify([sample.name, sample.labels]))
  if (new Set(keys).size !== keys.length) throw new Error(`${name} has a series twice`)
  if (samples.length === 0) throw new Error(`${name} is empty`)
  if (type === 'counter' && !name.endsWith('_total')) throw new Error(`${name} is a counter without _total`)
  if (type === 'histogram')
    for (const [key, group] of groupsOf(samples)) checkHistogram(`${name}${key}`, group)
}

function groupsOf(samples: readonly Sample[]): Map<string, Sample[]> {
  const groups = new Map<string, Sample[]>()
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels
    const key = JSON.stringify(labels)
    groups.set(key, [...(groups.get(key) ?? []), sample])
  }
  return groups
}

function checkHistogram(name: string, samples: readonly Sample[]): void {
  const buckets = samples.filter((sample) => sample.name.endsWith('_bucket'))
  const bounds = buckets.map(({ labels }) => (labels['le'] === '+Inf' ? Infinity : Number(labels['le'])))
  const ascends = (values: readonly number[]): boolean =>
    values.every((value, at) => at === 0 || value >= (values[at - 1] ?? 0))
  if (bounds.at(-1) !== Infinity || !ascends(bounds)) throw new Error(`${name} has no ascending bounds`)
  if (!ascends(buckets.map(({ value }) => value))) throw new Error(`${name} is not cumulative`)
  const count = samples.find((sample) => sample.name.endsWith('_count'))
  if (count === undefined || count.value !== buckets.at(-1)?.value)
    throw new Error(`${name} has a wrong count`)
  if (!samples.some((sample) => sample.name.endsWith('_sum'))) throw new Error(`${name} has no sum`)
}
