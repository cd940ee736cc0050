/** `1 upstream`, `2 upstreams`, `0 upstreams`. */
export const countText = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
