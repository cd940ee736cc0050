import { expect, test } from 'vitest'
import { readSentences, sentencesText } from './support/sentences.ts'

test('every sentence that a client or an operator may read stands in one list, to be read as such', () => {
  expect(sentencesText(), 'read what is new, then run `npm run sentences`').toBe(readSentences())
})
