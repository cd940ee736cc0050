/** What is written up to this size goes out as one text with its head: a copy costs less than a second piece. */
export const TEXT_LIMIT_BYTES = 16 * 1024

/** Bytes as a text of one character each, which Node writes back as the same bytes. */
export const latin1Of = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
