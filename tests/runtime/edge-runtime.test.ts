import { behavesAsEverywhere } from './behaviours.ts'
import { edgeRuntime } from './runtimes.ts'

behavesAsEverywhere(edgeRuntime)
