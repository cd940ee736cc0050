import { setFlagsFromString } from 'node:v8'
import { parseArguments, type Commands } from './arguments.ts'
import { chooseLanguage, inTheirLanguage } from './language.ts'

/** What may be typed. Help, the reading of arguments and the completion of shells follow from this table. */
export const commands: Commands = {
  start: {
    summary: 'serve (the default)',
    options: ['config', 'port', 'host', 'log'],
    details: `LOG_LEVEL in the environment is error, warn, info or debug.

Signals while it serves: SIGHUP reads the configuration again; SIGTERM and SIGINT let open
streams finish, a second one ends at once.`,
    run: async (command) => (await import('./start.ts')).runStart(command),
  },
  check: {
    summary: 'check the configuration, with --live its upstreams too',
    options: ['config', 'live', 'spend', 'json'],
    details: `Prints every problem and warning, one line each, and writes nothing.

With --live each enabled upstream is asked for its list of models, as the gateway would ask. That
costs nothing, and finds names that can't be resolved, refused connections and keys, models that are
not listed, and globs that match none. With --spend it is asked for one token besides, and for one
more as a stream; of the models that globs find with one key, the first.

Ends with 0 when the file can be served and every upstream that was asked has shown that it could
serve: its list has the model, or with --spend it answered. Else with 1.`,
    run: async (command) => (await import('./check.ts')).checkFile(command),
  },
  demo: {
    summary: 'try it without any key',
    options: ['port'],
    run: async (command) => (await import('./demo/demo.ts')).runDemo(command),
  },
  token: {
    summary: "say where your clients' token stands, or print it; manage those of single clients",
    options: ['config', 'show', 'models', 'json', 'port', 'host'],
    word: {
      called: 'ACTION',
      example: 'list',
      oneOf: ['list', 'add', 'revoke'],
      isOptional: true,
      named: ['add', 'revoke'],
    },
    details: `With --show nothing else is printed, so that $(aiload token --show) works.

  aiload token list          the tokens of clients, what they used and what is left of their limits
  aiload token add NAME      makes one and prints it, this once; the file gets its SHA-256
  aiload token revoke NAME   takes it out of the file

A running gateway follows within a second. Limits, addresses and an end are written into the file.`,
    run: async (command) => (await import('./token.ts')).manageTokens(command),
  },
  status: {
    summary: 'show how the upstreams of the running gateway are',
    options: ['config', 'port', 'host', 'json'],
    details: `Asks the gateway that the configuration describes, with the token in it. Ends with 1 when nothing
listens there, or the token is refused.`,
    run: async (command) => (await import('./status.ts')).printStatus(command),
  },
  forget: {
    summary: 'end the rest of an upstream in the running gateway',
    options: ['config', 'port', 'host'],
    word: { called: 'NAME', example: 'groq' },
    details: `For when you know that the cause is gone: a bill is paid, a key was enabled at the vendor. The names
are those that "aiload status" shows. What was learned of limits stays, and the next failure rests
it again.`,
    run: async (command) => (await import('./status.ts')).forgetUpstream(command),
  },
  pause: {
    summary: 'have an upstream of the running gateway take no new requests',
    options: ['config', 'port', 'host'],
    word: { called: 'NAME', example: 'groq' },
    details: `Until "aiload resume NAME", across restarts too, and though no other upstream is left. What is
under way goes on.`,
    run: async (command) => (await import('./status.ts')).sendPause(command, 'pause'),
  },
  resume: {
    summary: 'have a paused upstream of the running gateway take requests again',
    options: ['config', 'port', 'host'],
    word: { called: 'NAME', example: 'groq' },
    run: async (command) => (await import('./status.ts')).sendPause(command, 'resume'),
  },
  explain: {
    summary: 'tell why a request went where it went',
    options: ['config', 'port', 'host', 'json'],
    word: { called: 'ID', example: '6336039d-eb9f-468d-b3cd-6a7c9a47e0a1' },
    details: `ID is the x-request-id of an answer, or the one that the client sent. Every choice is made again
from what was written down: who could take it and who could not, why and until when, and what each
said that was asked. Where the gateway does not run, its events.log is read.`,
    run: async (command) => (await import('./explain.ts')).explainRequest(command),
  },
  'what-if': {
    summary: 'tell what another configuration would have made of the last requests',
    options: ['config', 'of', 'since', 'json'],
    details: `Here --config is the new configuration, and --of the one of the gateway that has recorded the
requests. They are sent once more, in a simulation: at their times, through the real relay, to
upstreams that fail, refuse and take as long as they were seen to. No upstream is asked and nothing
is written. RECORDED is what happened, PRESENT the simulation of the configuration as it is: how
near those two are tells how far NEW is to be trusted.`,
    run: async (command) => (await import('./what-if.ts')).printWhatIf(command),
  },
  healthcheck: {
    summary: 'ask the running gateway whether it is well, for containers and supervisors',
    options: ['config', 'port', 'host'],
    details: 'Ends with 0 when /healthz answers within 3 s, else with 1. Needs no token.',
    run: async (command) => (await import('./healthcheck.ts')).checkHealth(command),
  },
  run: {
    summary: 'start a coding agent that uses the running gateway',
    options: ['config', 'port', 'host'],
    word: { called: 'TOOL', example: 'codex', oneOf: ['claude', 'codex', 'opencode', 'aider'] },
    rest: 'ARGUMENTS',
    details: `Gives the tool the address and the token of the gateway, in its environment and arguments, and
writes nothing. What stands behind -- goes to the tool, as in: aiload run codex -- exec "Fix it"
Where something is missing for the tool it says what, and ends with 1; else as the tool ends.`,
    run: async (command) => (await import('./run-tool.ts')).runTool(command),
  },
  completion: {
    summary: 'print a script that has your shell complete commands',
    options: [],
    word: { called: 'SHELL', example: 'bash', oneOf: ['bash', 'zsh', 'fish'] },
    details: `For ~/.bashrc:                   eval "$(aiload completion bash)"
For ~/.zshrc, behind compinit:   eval "$(aiload completion zsh)"
For ~/.config/fish/config.fish:  aiload completion fish | source`,
    run: async (command, commands) => (await import('./completion.ts')).printCompletion(command, commands),
  },
  import: {
    summary: "write a configuration from another gateway's",
    options: ['out', 'from', 'plain-keys', 'force'],
    word: { called: 'FILE', example: 'litellm.yaml' },
    details: `FILE is LiteLLM's config.yaml, channels of one-api or new-api as JSON, groups of gpt-load as JSON,
uni-api's api.yaml, or lines of NAME=value. Keys go to a second file, whose name ends in .env; the
configuration refers to them as \${NAME}. What is not carried over is printed, each with the reason.`,
    run: async (command) => (await import('./import/import.ts')).importFile(command),
  },
  help: {
    summary: 'tell what a command does and takes',
    options: [],
    word: { called: 'COMMAND', example: 'check', oneOf: 'commands', isOptional: true },
    run: async (command, commands) => (await import('./help.ts')).printHelp(command, commands),
  },
  version: {
    summary: 'print the version',
    options: [],
    run: async () => (await import('./package-files.ts')).printVersion(),
  },
}

/** Runs what was typed, and ends with its exit code: 2 for what means nothing. */
export async function runCommandLine(argv: readonly string[]): Promise<void> {
  // While streams are open, what belongs to a request lives long, and V8 concludes that all of it should be made where
  // the long-lived things are. Every later request then drags its young objects along: collections take ten times as
  // long, and one in fifty requests waits for one.
  setFlagsFromString('--no-allocation-site-pretenuring')

  // A reader that went away (`aiload | head`) is no reason to stop serving.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

  await chooseLanguage(process.env)
  const command = parseArguments(argv, commands)
  if ('misuse' in command) {
    process.stderr.write(`${inTheirLanguage(`aiload: ${command.misuse}`)}\n`)
    process.exitCode = 2
  } else {
    process.exitCode = await commands[command.name]?.run(command, commands)
  }
}
