import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { toJsonSchema } from '@valibot/to-json-schema'
import { configSchema } from '../src/config/schema.ts'

/** The JSON Schema of the configuration as the text of `config.schema.json`. */
export function schemaText(): string {
  // Rules that JSON Schema can't say (a time zone, a port that fetch refuses) are left to `aiload check`.
  const schema = toJsonSchema(configSchema, {
    typeMode: 'input',
    errorMode: 'ignore',
    overrideSchema: closed,
  })
  // The last two are read by VS Code, which otherwise marks comments in a .json file as mistakes.
  const whole = { ...schema, title: 'AILoad configuration', allowComments: true, allowTrailingCommas: true }
  return `${JSON.stringify(whole, undefined, 2)}\n`
}

/** Unknown keys are warnings of the program; an editor shows them when the object is closed. */
function closed({ valibotSchema, jsonSchema }: { valibotSchema: { type: string }; jsonSchema: object }) {
  return valibotSchema.type === 'object' ? { ...jsonSchema, additionalProperties: false } : undefined
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(new URL('config.schema.json', import.meta.url), schemaText())
