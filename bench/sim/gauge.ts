/** What a vendor counts. */
export type CountName = 'requests:minute' | 'requests:day' | 'tokens:minute' | 'tokens:day'

/** One of a vendor's limits at the moment when it took or refused a request. */
export interface Gauge {
  readonly limit: number
  readonly left: number
  /** Ms until nothing is counted any more. */
  readonly resetsIn: number
  /** Ms until something is forgotten. */
  readonly freesIn: number
}

export type Gauges = ReadonlyMap<CountName, Gauge>
