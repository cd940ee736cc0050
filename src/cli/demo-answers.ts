import type { Nature } from './demo-natures.ts'

/** What the pretend upstreams can talk about; the first that the question fits is told, else the last. */
const topics: readonly (readonly [RegExp, string])[] = [
  [
    /stream|token|chunk|sse/i,
    'A streamed answer is passed on chunk by chunk, as it comes. Until my first word was there the gateway could still have gone to another upstream without you noticing; since then this answer is mine alone, and nothing starts over.',
  ],
  [
    /limit|429|quota|rate/i,
    'Every answer of the limited upstream says in its headers how much is left. The gateway reads that and goes elsewhere in time. When many requests come at the same moment some do get a 429, and are sent on to the next upstream: you only ever see the answer.',
  ],
  [
    /fail|down|break|broke|error|outage/i,
    'Break the quick upstream with the line that the demo printed and ask again. The gateway gets a 500, asks the next upstream, and leaves the broken one alone for a second, then two, then four. One live request tries it again each time.',
  ],
  [
    /balanc|choose|chose|pick|strateg|which|who/i,
    'Here the strategy is round_robin without affinity, so that requests go around. In your own configuration it can go by weight, by speed or by what is left of a quota, and a conversation stays with the model that began it.',
  ],
  [
    /\b(?:hello|hi|hey|hallo|bonjour|hola)\b|你好/i,
    'Hello! I am no model at all, just a few prepared sentences, but everything between you and me is real: the gateway, the HTTP, the limits and the clock.',
  ],
  [
    /^/,
    'I can not really answer that, since I am only a few prepared sentences. Ask me about streaming, limits, failures or how an upstream is chosen, or ask the same again and see who answers next.',
  ],
]

/** A short answer to the question, which says who wrote it. */
export function answerTo(question: string, nature: Nature): string {
  const [, text = ''] = topics.find(([about]) => about.test(question)) ?? []
  return `${nature.introduction} ${text}`
}

/** A text in pieces as a model would stream it: a word each, with the blank before it. */
export const piecesOf = (text: string): string[] => text.match(/\s*\S+/g) ?? []
