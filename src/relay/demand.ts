import { editDocument, type MemberEdits, valueEdit } from '../lib/json/edit.ts'
import { abilitiesNeeded, estimateOf, type ParsedBody } from '../openai/request.ts'
import type { Pool } from '../pool/pool.ts'
import type { Endpoint, Upstream } from '../pool/upstream.ts'
import type { Needs } from '../state/abilities.ts'
import type { TokenDemand } from '../state/store.ts'

/** What a body asks of whoever gets it. */
export interface Demand extends TokenDemand {
  readonly choices: number
  /** What whoever answers it has to be able to do. */
  readonly needs: Needs
}

/** What a request asks of the upstreams of its pool. */
export interface Demands {
  /** What the client's body asks for. */
  readonly demand: Demand
  /** The same, by id, of the upstreams that get another body; undefined = none does. */
  readonly demands: Readonly<Record<string, Demand>> | undefined
}

/** What the body that an upstream gets asks for. */
export const demandOn = ({ demand, demands }: Demands, { id }: Upstream): Demand => demands?.[id] ?? demand

type SizedBody = Pick<ParsedBody, 'stream' | 'scan'> & { readonly size: number }

export function demandOf({ stream, scan, size }: SizedBody, endpoint: Endpoint): Demand {
  const estimate = scan && estimateOf(scan, endpoint)
  const { inputTokens, outputTokens, choices } = estimate ?? NO_ESTIMATE
  const context = (inputTokens ?? 0) + (outputTokens ?? 0)
  const abilities = abilitiesNeeded({ stream, scan })
  return {
    inputTokens,
    outputTokens,
    choices,
    needs: { abilities, context, output: outputTokens ?? 0, body: size },
  }
}

const NO_ESTIMATE = { inputTokens: undefined, outputTokens: undefined, choices: 1 }

/** What upstreams are asked for that get another body; see `Demands`. A form goes to all of them as it is. */
export function demandsOf({ stream, scan }: SizedBody, pool: Pool, endpoint: Endpoint): Demands['demands'] {
  if (!pool.hasEdits || scan === undefined) return undefined
  const made = new Map<MemberEdits, Demand>()
  const demands: Record<string, Demand> = {}
  for (const upstream of pool.upstreams) {
    const edits = editsOn(upstream, stream)
    if (edits === undefined) continue
    let demand = made.get(edits)
    if (demand === undefined) {
      const edited = editDocument(scan, edits).scan
      demand = demandOf({ stream, scan: edited, size: edited.length }, endpoint)
      made.set(edits, demand)
    }
    demands[upstream.id] = demand
  }
  return demands
}

/** The body as an upstream gets it: the client's bytes but for the model's name and what its configuration edits. */
export function bodyOn(upstream: Upstream, { stream, scan, withModel }: ParsedBody): readonly Uint8Array[] {
  const edits = editsOn(upstream, stream)
  if (edits === undefined || scan === undefined) return withModel(upstream.model)
  const model = valueEdit('set', 'model', upstream.model)
  return editDocument(scan, new Map([['model', model], ...edits])).parts
}

const editsOn = ({ edits }: Upstream, stream: ParsedBody['stream']): MemberEdits | undefined =>
  stream ? edits?.streamed : edits?.whole
