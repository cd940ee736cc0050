import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    exclude: ['tests/{runtime,agents,proxies,metrics,traces}/**', 'tests/page/browser/**', 'node_modules/**'],
    globalSetup: ['tests/support/build-once.ts'],
    // No file replaces a module or leaves something changed behind, so all may share a few threads: a process of its own
    // for each takes a quarter of the CPU.
    pool: 'threads',
    isolate: false,
    // Much of the time tests wait for processes and sockets.
    maxWorkers: 4,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
