import { defineConfig } from 'vitest/config'

/** Rooms whose tests start nothing and share nothing: they may run in one process. */
const pure = ['lib', 'pool', 'config', 'state', 'telemetry'].map((room) => `tests/${room}/**/*.test.ts`)

export default defineConfig({
  test: {
    // Most of the time tests wait for processes and sockets.
    maxWorkers: 3,
    projects: [
      { test: { name: 'pure', include: pure, pool: 'threads', isolate: false, testTimeout: 30_000 } },
      {
        test: {
          name: 'real',
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/runtime/**', 'node_modules/**', ...pure],
          globalSetup: ['tests/support/build-once.ts'],
          pool: 'forks',
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
    ],
  },
})
