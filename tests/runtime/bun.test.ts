import { behavesAsEverywhere } from './behaviours.ts'
import { bun } from './runtimes.ts'

behavesAsEverywhere(bun)
