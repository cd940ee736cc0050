import { behavesAsEverywhere } from './behaviours.ts'
import { worker } from './runtimes.ts'

behavesAsEverywhere(worker)
