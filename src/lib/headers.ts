/**
 * Header fields as plain data: names in lower case, the values of a repeated name joined with `", "`.
 *
 * Reading an absent name gives undefined, also for names such as `constructor`.
 */
export type HeaderBag = Readonly<Record<string, string>>

/**
 * The same fields as a `HeaderBag`, `set-cookie` joined like every other name.
 *
 * The bag has no prototype, so a field called `__proto__` is an entry like any other.
 */
export function headerBagOf(headers: Headers): HeaderBag {
  const bag: Record<string, string> = Object.create(null)
  headers.forEach((value, name) => {
    const before = bag[name]
    bag[name] = before === undefined ? value : `${before}, ${value}`
  })
  return bag
}
