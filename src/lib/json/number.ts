/** How much of a number has been read is told by a row of `PARTS`; this one is that of its first byte. */
export const FIRST_PART = 1
/** Parts behind which a number may end, as bits: a zero, digits, those behind the point, those of the exponent. */
const COMPLETE = (1 << 3) | (1 << 4) | (1 << 6) | (1 << 9)
export const isCompleteNumber = (part: number): boolean => ((COMPLETE >> part) & 1) === 1

/**
 * RFC 8259 §6. By what has been read, and by what comes: zero, another digit, a minus, a plus, a point, an e. 0 = what
 * comes is no part of the number.
 */
const PARTS: readonly (readonly number[])[] = [
  [0, 0, 0, 0, 0, 0],
  /* 1: nothing */ [3, 4, 2, 0, 0, 0],
  /* 2: a minus */ [3, 4, 0, 0, 0, 0],
  /* 3: a zero in front */ [0, 0, 0, 0, 5, 7],
  /* 4: digits */ [4, 4, 0, 0, 5, 7],
  /* 5: a point */ [6, 6, 0, 0, 0, 0],
  /* 6: digits behind it */ [6, 6, 0, 0, 0, 7],
  /* 7: an e */ [9, 9, 8, 8, 0, 0],
  /* 8: its sign */ [9, 9, 0, 0, 0, 0],
  /* 9: its digits */ [9, 9, 0, 0, 0, 0],
]

/** The column of each byte; 6 = part of no number. */
const COLUMNS = new Uint8Array(256).fill(6)
for (const [column, bytes] of ['0', '123456789', '-', '+', '.', 'eE'].entries())
  for (const byte of new TextEncoder().encode(bytes)) COLUMNS[byte] = column

/** The part that a number is in with one more byte; 0 = the byte is none of it. */
export const nextPart = (part: number, byte: number): number => PARTS[part]?.[COLUMNS[byte] ?? 6] ?? 0
