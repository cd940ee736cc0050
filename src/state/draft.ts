/** A copy that nobody else holds yet, and whose fields may therefore be set. */
export type Draft<T> = { -readonly [Key in keyof T]: T[Key] }
