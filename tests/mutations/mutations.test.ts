import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { mutations } from './mutations.ts'

test('every mutation still finds its one place', () => {
  for (const { file, search } of mutations) {
    const places = readFileSync(file, 'utf8').split(search).length - 1
    expect({ file, search, places }).toEqual({ file, search, places: 1 })
  }
})
