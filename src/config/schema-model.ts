import * as v from 'valibot'
import { endpoints } from '../pool/vocabulary.ts'
import { isRefusal, parseBaseUrl } from './base-url.ts'
import { headerName, headerValue, isTransportHeader } from './header-rules.ts'
import {
  daySeconds,
  flag,
  listOf,
  must,
  name,
  objectMessage,
  oneOf,
  oneOrMany,
  positiveSeconds,
} from './rules.ts'
import { told, wholeNumber, words } from './rules.ts'
import { limitsSchema } from './schema-limits.ts'

const urlHint = 'write the root such as https://api.openai.com/v1, or the full address …/v1/chat/completions'
const keyHint = 'write the key, a list of keys, or ${NAME} for an environment variable'
const headersHint = 'write for example { "x-team": "a" }'

/** A key goes into a header, so what a header can't carry is refused here and not at the first request. */
const apiKey = v.pipe(
  v.string(told('must be a string', keyHint)),
  must(
    (key) => headerValue.test(key.trim()),
    told('has a character that no header can carry', 'copy the key again'),
  ),
)
const listedKey = v.pipe(
  apiKey,
  must((key) => key.trim() !== '', told('is empty', 'write a key or take the item out')),
)

const baseUrl = v.pipe(
  v.string(told('must be a string', urlHint)),
  v.rawCheck(({ dataset, addIssue }) => {
    const url = dataset.typed ? parseBaseUrl(dataset.value) : undefined
    if (url && isRefusal(url)) addIssue({ message: told(url.message, url.hint) })
  }),
)

const headers = v.record(
  v.pipe(
    v.string(),
    must((key) => headerName.test(key), told('is no header name', 'use letters, digits and -')),
    must(
      (key) => !isTransportHeader(key),
      told('is a header that the connection sets by itself', 'take it out'),
    ),
  ),
  v.pipe(
    v.string(told('must be a string', headersHint)),
    must((value) => headerValue.test(value), told('has a character that no header can carry', headersHint)),
  ),
  objectMessage(headersHint),
)

const groupName = name('write the name that clients will ask for')
const quotaName = name('write the name of an entry of quotas')

/** One entry of `models`: a model at one endpoint, with one key or several. */
export const modelSchema = v.object(
  {
    base_url: baseUrl,
    model: words('write the name that the vendor gives the model'),
    api_key: v.exactOptional(
      oneOrMany(
        apiKey,
        v.pipe(listOf(listedKey, keyHint), v.nonEmpty(told('has no key in it', keyHint))),
        keyHint,
      ),
    ),
    name: v.exactOptional(name('write a short name')),
    endpoints: v.exactOptional(
      v.pipe(
        listOf(oneOf(endpoints), 'write for example ["chat", "embeddings"]'),
        v.nonEmpty(told('is empty', 'list what it serves, or leave it out for all')),
      ),
    ),
    groups: v.exactOptional(listOf(groupName, 'write for example ["fast"]')),
    weight: v.exactOptional(
      v.pipe(
        v.number(told('must be a number above 0', 'write a number such as 1')),
        v.gtValue(
          0,
          told('must be a number above 0', 'write a number such as 1, or "enabled": false to leave it out'),
        ),
        v.finite(told('must be a finite number', 'write a number such as 1')),
      ),
    ),
    priority: v.exactOptional(
      wholeNumber(-1_000_000, 1_000_000, 'write 0 for the first tier, 1 for the next'),
    ),
    limits: v.exactOptional(limitsSchema),
    quota: v.exactOptional(
      oneOrMany(
        quotaName,
        listOf(quotaName, 'write names of quotas'),
        'write a name of quotas or a list of them',
      ),
    ),
    headers: v.exactOptional(headers),
    timeout: v.exactOptional(positiveSeconds(daySeconds, 'write for example 120')),
    enabled: v.exactOptional(flag()),
  },
  objectMessage('write for example { "base_url": "https://api.openai.com/v1", "model": "gpt-4o" }', {
    base_url: urlHint,
    model: 'write the name that the vendor gives the model',
  }),
)
