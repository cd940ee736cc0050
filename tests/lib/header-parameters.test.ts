import { describe, expect, test } from 'vitest'
import { headerParameters } from '../../src/lib/multipart.ts'

describe('headerParameters', () => {
  test.each([
    { header: 'form-data; name="model"; filename="a.mp3"', is: { name: ['model'], filename: ['a.mp3'] } },
    { header: 'multipart/form-data;boundary=x', is: { boundary: ['x'] } },
    { header: 'a; Boundary = "x y" ; B=c ', is: { boundary: ['x y'], b: ['c'] } },
    { header: 'a; boundary=a=b/c:d"e', is: { boundary: ['a=b/c:d"e'] } },
    { header: 'a; n="x;y=\\"z\\\\"; m=1', is: { n: ['x;y="z\\'], m: ['1'] } },
    { header: 'a; n=1; N=2', is: { n: ['1', '2'] } },
    { header: 'a; n=; m; o=""', is: { n: [''], m: [''], o: [''] } },
    { header: 'a; filename="a"b"; n=1', is: { filename: ['a'], n: ['1'] } },
    { header: 'a;; ;n=1;', is: { n: ['1'] } },
    { header: 'a', is: {} },
    { header: '', is: {} },
    { header: 'a; n="x', is: undefined },
    { header: 'a; n=  "x', is: undefined },
    { header: 'a; n="x\\"', is: undefined },
    { header: 'a; =x', is: undefined },
    { header: 'a; b c=x', is: undefined },
  ])('$header gives $is', ({ header, is }) => {
    const parameters = headerParameters(header)
    expect(parameters && Object.fromEntries(parameters)).toEqual(is)
  })

  test.each([
    '; n="'.repeat(20_000),
    `; ${'n'.repeat(100_000)} `,
    `;n=${' '.repeat(100_000)}"`,
    `; n="${'\\'.repeat(100_001)}`,
  ])('a hostile header is read in linear time', (header) => {
    const started = performance.now()
    headerParameters(header)
    expect(performance.now() - started).toBeLessThan(10_000)
  })
})
