#!/usr/bin/env node
/*
 * cli: what somebody types. Only here a process is taken over: its signals, its arguments, its output, its end.
 *
 * main           the entry, which an old Node can read too
 * old-node       what it is told
 * commands       all commands as a table, and running one
 * arguments      the command line, and what follows from it: where to listen, where to look
 * help           `aiload help`
 * start          `aiload start`
 * check          `aiload check`
 * token          `aiload token`
 * listed-models  what lists of models add to a configuration that is checked
 * live-check     `aiload check --live`
 * probe          what one upstream shows of itself
 * status         `aiload status`, `aiload forget`, `aiload pause` and `aiload resume`
 * healthcheck    `aiload healthcheck`
 * running-gateway  where the gateway of a configuration is, and asking it
 * terminal-text  tables, durations and counts for people, and words for shells
 * language       the language of who reads, and saying lines in it
 * chinese        finished lines in Chinese, with the sentences in chinese.json
 * import/        `aiload import`, from other gateways' configurations
 * demo/          `aiload demo`, with upstreams that pretend
 * run-tool       `aiload run`
 * completion     `aiload completion`
 * process        dropping root, and mistakes that nobody caught
 * log-output     the log, on the standard output in batches
 * package-files  the version and the template of the configuration
 */
import { oldNodeSentence } from './old-node.mjs'

// Everything else is loaded behind this question, and nothing here is newer than Node 12 can parse: no `await`, no `?.`.
const sentence = oldNodeSentence(process.versions.node)
if (sentence === undefined) {
  void import('./commands.ts').then(({ runCommandLine }) => runCommandLine(process.argv.slice(2)))
} else {
  process.stderr.write(sentence + '\n')
  process.exitCode = 1
}
