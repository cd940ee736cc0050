import * as v from 'valibot'
import { sha256Hex } from '../lib/hash.ts'
import { parseRange } from '../lib/ip.ts'
import { wallDateMs } from '../lib/time.ts'
import { SPAN_MS } from '../pool/outcome.ts'
import { tokenLimitsSchema, trimmedName } from './model-schema.ts'
import {
  booleanFlag,
  check,
  listOf,
  message,
  objectMessage,
  optional,
  renamed,
  section,
  text,
  unique,
} from './rules.ts'

/* Addresses, and one entry of `tokens`. How entries are written: `schema.ts`. */

/** A list of addresses, CIDR ranges and `private`, each once. */
export function addressesSchema(right: string) {
  const isAddress = (written: string): boolean => written === 'private' || parseRange(written) !== undefined
  const address = v.pipe(text(right), check(isAddress, 'is neither an address nor a range', right))
  return v.pipe(listOf(address, right), v.transform(unique))
}

const nameHint = 'write up to 64 letters, digits and . _ - @ such as "alice"'
/** Without blanks: it stands in keys of the state, behind which other words follow. */
const nameSchema = v.pipe(
  text(nameHint),
  v.regex(/^[\p{L}\p{N}][\p{L}\p{N}\p{M}._@-]{0,63}$/u, message('cannot be the name of a token', nameHint)),
)

const tokenHint =
  'write 32 to 256 letters, digits and signs, or "sha256:" and the 64 hex digits of its SHA-256'
/** Made by `aiload token add`: nothing that the file holds opens the door then. */
const DIGEST = /^sha256:([\da-f]{64})$/i
const secretSchema = v.pipe(
  text(tokenHint),
  check((written) => !/^sha256:/i.test(written) || DIGEST.test(written), 'is no SHA-256 in hex', tokenHint),
  check((written) => written.length >= 32, 'is shorter than 32 characters', tokenHint),
  check(
    (written) => /^[\x21-\x7e]{1,256}$/.test(written),
    'is too long, or has a blank or another sign',
    tokenHint,
  ),
  // What was plain in the file is not kept.
  v.transform((written) => DIGEST.exec(written)?.[1]?.toLowerCase() ?? sha256Hex(written)),
)

const expiryHint = 'write a day such as "2027-01-31", or a moment such as "2027-01-31T18:00:00Z"'
const IS_DAY = /^\d{4}-\d\d-\d\d$/
const isDate = (written: string): boolean => /^\d{4}-/.test(written) && wallDateMs(written, 0) !== undefined
const expirySchema = v.pipe(
  text(expiryHint),
  check(isDate, 'is not a date', expiryHint),
  // A day counts to its end in UTC.
  v.transform((written) => (wallDateMs(written, 0) ?? 0) + (IS_DAY.test(written) ? SPAN_MS.day : 0)),
)

const modelsHint = 'write names of models, groups or upstreams such as ["gpt-4o"]; leave it out for all'
const tokenSchema = section(
  {
    name: nameSchema,
    token: renamed('digest', secretSchema),
    // Absent = all.
    models: optional(
      v.pipe(listOf(trimmedName(modelsHint), modelsHint), v.nonEmpty(message('is empty', modelsHint))),
    ),
    limits: optional(tokenLimitsSchema),
    // Absent = from everywhere.
    allow_ips: optional(
      v.pipe(
        addressesSchema('write "private", an address such as 10.0.0.1, or a range such as 10.0.0.0/8'),
        check((all) => all.length > 0, 'is empty', 'leave it out where every address may use the token'),
      ),
    ),
    // Absent = never. Epoch ms.
    expires: renamed('expiresAt', optional(expirySchema)),
    admin: optional(booleanFlag(), false),
    passthrough: optional(booleanFlag(), false),
  },
  objectMessage('write for example { "name": "alice", "token": "sha256:…" }', {
    name: nameHint,
    token: `${tokenHint}, or have one made by: aiload token add NAME`,
  }),
  ({ limits: written, ...token }) => ({ ...token, limits: written?.limits, zone: written?.zone ?? 'UTC' }),
)

/** A token of a client, checked. `digest` is the SHA-256 of it in hex, `zone` whose days, weeks and months its use is summed up in. */
export type TokenConfig = v.InferOutput<typeof tokenSchema>

/** That an earlier entry has the same, which is told of the later one. */
const isFirst =
  (key: 'name' | 'digest') =>
  (token: TokenConfig, at: number, all: TokenConfig[]): boolean =>
    all.findIndex((other) => other[key] === token[key]) === at

export const tokensSchema = v.pipe(
  listOf(tokenSchema, 'write for example [{ "name": "alice", "token": "sha256:…" }]'),
  v.checkItems(isFirst('name'), message('has the name of an earlier token', 'give each a name of its own')),
  v.checkItems(isFirst('digest'), message('has the same token as an earlier entry', 'make a token for each')),
  v.readonly(),
)
