import type { Claim } from '../pool/upstream.ts'
import type { ScopeState } from './scope-state.ts'
import { standingOf, type Standing } from './standing.ts'

/** The states of all scopes, to be had by name, or at once for all that a claim draws on. */
export interface ScopeTable {
  get(scope: string): ScopeState | undefined
  set(scope: string, state: ScopeState): void
  /** The same one again for as long as none of its states was replaced. */
  standing(claim: Claim): Standing
  /** Forgets the states for which `isOver` holds. */
  drop(isOver: (state: ScopeState, scope: string) => boolean): void
  all(): [scope: string, state: ScopeState][]
}

interface Cell {
  state: ScopeState | undefined
}

/** The cells that a claim draws on, and what was in them when it was last asked. */
interface Row {
  readonly cells: readonly Cell[]
  standing: Standing
}

/**
 * A choice among a hundred upstreams asks for five hundred scopes, and hardly any has changed since the choice
 * before: so a claim finds its cells once, and afterwards only compares what is in them.
 */
export function createScopeTable(): ScopeTable {
  const cells = new Map<string, Cell>()
  let rows = new WeakMap<Claim, Row>()

  function cellOf(scope: string): Cell {
    const known = cells.get(scope)
    if (known !== undefined) return known
    const cell: Cell = { state: undefined }
    cells.set(scope, cell)
    return cell
  }

  function rowOf({ draws }: Claim): Row {
    const own = draws.map(({ scope }) => cellOf(scope))
    return { cells: own, standing: standingIn(own) }
  }

  return {
    get: (scope) => cells.get(scope)?.state,
    set: (scope, state) => void (cellOf(scope).state = state),
    standing(claim) {
      let row = rows.get(claim)
      if (row === undefined) rows.set(claim, (row = rowOf(claim)))
      else if (hasChanged(row)) row.standing = standingIn(row.cells)
      return row.standing
    },
    drop(isOver) {
      for (const [scope, { state }] of cells)
        if (state === undefined || isOver(state, scope)) cells.delete(scope)
      rows = new WeakMap()
    },
    all() {
      const known: [string, ScopeState][] = []
      for (const [scope, { state }] of cells) if (state !== undefined) known.push([scope, state])
      return known
    },
  }
}

const standingIn = (cells: readonly Cell[]): Standing => standingOf(cells.map(({ state }) => state))

function hasChanged({ cells, standing: { states } }: Row): boolean {
  for (let at = 0; at < cells.length; at++) if (cells[at]?.state !== states[at]) return true
  return false
}
