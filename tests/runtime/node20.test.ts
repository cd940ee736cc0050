import { behavesAsEverywhere } from './behaviours.ts'
import { node } from './runtimes.ts'

behavesAsEverywhere(node('20'))
