import { behavesAsEverywhere } from './behaviours.ts'
import { deno } from './runtimes.ts'

behavesAsEverywhere(deno)
