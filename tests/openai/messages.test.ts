import { describe, expect, test } from 'vitest'
import { scanTopLevel } from '../../src/lib/json/scan.ts'
import { firstMessages } from '../../src/openai/affinity-key.ts'

/** What `firstMessages` finds in this JSON text of `messages`, as text. */
function found(json: string): { system?: string; user?: string } {
  const bytes = new TextEncoder().encode(`{ "messages" : ${json} }`)
  const span = scanTopLevel(bytes, ['messages']).fields.get('messages')?.[0]
  const messages = firstMessages(bytes.subarray(span!.start, span!.end))
  const texts = Object.entries(messages).map(([role, part]) => [role, new TextDecoder().decode(part)])
  return Object.fromEntries(texts)
}

describe('firstMessages', () => {
  test.each([
    {
      json: '[{"role":"system","content":"S"},{"role":"user","content":"U"}]',
      is: { system: '"S"', user: '"U"' },
      because: 'that is the usual form',
    },
    {
      json: '[ { "content" : "S" , "role" : "developer" } , { "content" : "U" , "name" : "n" , "role" : "user" } ]',
      is: { system: '"S"', user: '"U"' },
      because: 'keys come in any order and white space does not matter',
    },
    {
      json: '[{"role":"user","content":[{"type":"text","text":"U"}]}]',
      is: { user: '[{"type":"text","text":"U"}]' },
      because: 'content may be a list',
    },
    {
      json: '[{"type":"message","role":"user","content":"U"},{"role":"user","content":"V"}]',
      is: { user: '"U"' },
      because: 'only the first user message stays the same in every turn',
    },
    {
      json: '[{"role":"system","content":"S"},{"role":"developer","content":"T"},{"role":"user","content":"U"}]',
      is: { system: '"S"', user: '"U"' },
      because: 'the first system message counts',
    },
    {
      json: '[{"role":"user","content":"U"},{"role":"system","content":"S"}]',
      is: { user: '"U"' },
      because: 'nothing behind the first user message is read',
    },
    {
      json: '[{"role":"assistant","content":"A"},{"role":"tool","content":"T"},{"role":"user","content":"U"}]',
      is: { user: '"U"' },
      because: 'other roles are passed over',
    },
    {
      json: '[{"role":"system","content":"S"}]',
      is: { system: '"S"' },
      because: 'there may be no user message',
    },
    {
      json: '[{"r\\u006fle":"us\\u0065r","content":"U"}]',
      is: { user: '"U"' },
      because: 'escapes do not hide a role',
    },
    {
      json: '[{"role":"user"},{"role":"user","content":"U"}]',
      is: { user: '"U"' },
      because: 'a message without content identifies nothing',
    },
    {
      json: '[{"role":"user","content":{"role":"system","content":"x"}}]',
      is: { user: '{"role":"system","content":"x"}' },
      because: 'nested keys are others',
    },
    {
      json: '[{"role":["user"],"content":"x"},{"role":"user","content":"U"}]',
      is: { user: '"U"' },
      because: 'a role is a string',
    },
    {
      json: '"text with \\" in it"',
      is: { user: '"text with \\" in it"' },
      because: 'a string is the user’s text',
    },
    { json: '["first","second"]', is: { user: '"first"' }, because: 'of several prompts the first counts' },
    { json: '[1,2,3]', is: { user: '[1,2,3]' }, because: 'tokens are one prompt' },
    { json: '[[1,2],[3]]', is: { user: '[1,2]' }, because: 'of several token prompts the first counts' },
    {
      json: '[{"role":"system","content":"S"},"U"]',
      is: { system: '"S"', user: '"U"' },
      because: 'strings may stand among messages',
    },
    { json: '[{"type":"text","text":"x"}]', is: {}, because: 'parts without a role are no messages' },
    { json: '[{},{}]', is: {}, because: 'there is nothing in them' },
    { json: '[ ]', is: {}, because: 'there are none' },
    { json: 'null', is: {}, because: 'there is no list' },
    { json: '{"role":"user","content":"x"}', is: {}, because: 'a message alone is no list' },
  ])('$json gives $is, since $because', ({ json, is }) => {
    expect(found(json)).toEqual(is)
  })

  test('100,000 messages and 100,000 levels are read within seconds when no user message is among them', () => {
    const many = `[${'{"role":"assistant","content":"A"},'.repeat(100_000)}{}]`
    const deep = `[{"role":"assistant","content":${'['.repeat(100_000)}${']'.repeat(100_000)}}]`
    const started = performance.now()
    expect([found(many), found(deep)]).toEqual([{}, {}])
    expect(performance.now() - started).toBeLessThan(20_000)
  })
})
