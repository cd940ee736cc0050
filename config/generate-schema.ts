import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { toJsonSchema } from '@valibot/to-json-schema'
import { configSchema } from '../src/config/schema.ts'
import { keyMeanings } from './key-meanings.ts'

/** The JSON Schema of the configuration as the text of `config.schema.json`. */
export function schemaText(): string {
  // Rules that JSON Schema can't say (a time zone, a port that fetch refuses) are left to `aiload check`.
  const schema = toJsonSchema(configSchema, {
    typeMode: 'input',
    errorMode: 'ignore',
    overrideSchema: closed,
  })
  // The last two are read by VS Code, which otherwise marks comments in a .json file as mistakes.
  const whole = {
    ...withEntryForms(explained(schema as Part, '')),
    title: 'AILoad configuration',
    allowComments: true,
    allowTrailingCommas: true,
  }
  return `${JSON.stringify(whole, undefined, 2)}\n`
}

/** An entry of `models` says where its requests go and for which model, or leaves that to a vendor's preset. */
function withEntryForms(whole: Part): Part {
  const { models } = whole.properties ?? {}
  const anyOf = [['vendor'], ['base_url', 'model'], ['base_url', 'models']].map((required) => ({ required }))
  return {
    ...whole,
    properties: { ...whole.properties, models: { ...models, items: { ...models?.items, anyOf } } },
  }
}

/** Unknown keys are warnings of the program; an editor shows them when the object is closed. */
function closed({ valibotSchema, jsonSchema }: { valibotSchema: { type: string }; jsonSchema: object }) {
  return valibotSchema.type === 'object' ? { ...jsonSchema, additionalProperties: false } : undefined
}

/** The parts of a JSON Schema in which keys stand. */
interface Part {
  readonly properties?: Readonly<Record<string, Part>>
  readonly items?: Part
  readonly additionalProperties?: Part | false
  readonly default?: unknown
  readonly type?: string
  readonly anyOf?: readonly object[]
}

/** The same with the meaning of each key. The meanings are no part of the schema of the program, which needs none. */
function explained(part: Part, at: string): Part {
  const { properties, items, additionalProperties: named } = part
  const description = descriptionOf(at, part)
  const entries = Object.entries(properties ?? {}).map(([key, inner]) => [
    key,
    explained(inner, at === '' ? key : `${at}.${key}`),
  ])
  return {
    ...orReference(part),
    ...(properties && { properties: Object.fromEntries(entries) as Record<string, Part> }),
    ...(items && { items: explained(items, `${at}[]`) }),
    ...(named && { additionalProperties: explained(named, `${at}[]`) }),
    ...(description !== undefined && { description }),
  }
}

/** Numbers and flags may come out of a variable, and then stand in quotes: "${PORT}". */
function orReference(part: Part): Part {
  if (!['number', 'integer', 'boolean'].includes(part.type ?? '')) return part
  const { default: value, ...rule } = part
  const either = { anyOf: [rule, { type: 'string', pattern: String.raw`\$\{` }] }
  return value === undefined ? either : { ...either, default: value }
}

/** Editors show a description and no default, so the default stands in it too; an empty one says nothing. */
function descriptionOf(at: string, { default: value }: Part): string | undefined {
  const meaning = keyMeanings[at]
  const shown = JSON.stringify(value)
  const isNothing = shown === undefined || ['""', '[]', '{}'].includes(shown)
  return meaning === undefined || isNothing ? meaning : `${meaning} Default: ${shown}.`
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(new URL('config.schema.json', import.meta.url), schemaText())
