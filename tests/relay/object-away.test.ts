import { expect, test } from 'vitest'
import { createObjectBed } from '../support/object-bed.ts'
import { chatAnswer, play } from '../support/played.ts'
import { configOf } from '../support/test-app.ts'

test('what an isolate sent while the object was away counts for the others when it is back', async () => {
  const bed = createObjectBed()
  const config = configOf(['a.test'], { settings: { queue_timeout: 0 }, models: { limits: { rpm: 5 } } })
  const [left, right] = [bed.isolate(config, play(chatAnswer())), bed.isolate(config, play(chatAnswer()))]
  bed.isAway = true
  for (let nth = 0; nth < 3; nth++) expect((await left.chat()).status).toBe(200)
  await bed.clock.advance(2_000)
  bed.isAway = false
  await bed.clock.advance(2_000)
  const statuses = []
  for (let nth = 0; nth < 3; nth++) statuses.push((await right.chat()).status)
  expect(statuses).toEqual([200, 200, 429])
})
