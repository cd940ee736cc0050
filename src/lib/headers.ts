/** Header fields as plain data: names in lower case, the values of a repeated name joined with `", "`. */
export type HeaderBag = Readonly<Record<string, string>>

/** The same fields as a `HeaderBag`, `set-cookie` joined like every other name. */
export function headerBagOf(headers: Headers): HeaderBag {
  const bag = emptyBag()
  headers.forEach((value, name) => {
    const before = bag[name]
    bag[name] = before === undefined ? value : `${before}, ${value}`
  })
  return bag
}

/** The headers of an answer whose body was decoded: what they said of the encoded one is gone. */
export function withoutCoding(headers: HeaderBag): HeaderBag {
  const bag = Object.assign(emptyBag(), headers)
  delete bag['content-encoding']
  delete bag['content-length']
  return bag
}

/** No prototype but an empty one: as quick as any object, and neither `constructor` nor `__proto__` is inherited. */
const Bag = function Bag() {} as unknown as new () => Record<string, never>
Bag.prototype = Object.create(null)

/** An empty bag to be filled; costs a fraction of `Object.create(null)` to fill and to read. */
export const emptyBag = <Value = string>(): Record<string, Value> => new Bag()

/** Whether HTTP allows the answer no body (RFC 9110 §6.4.1, §15.3.6). */
export const isBodiless = (method: string, status: number): boolean =>
  method === 'HEAD' || status === 204 || status === 205 || status === 304
