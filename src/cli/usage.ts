/** What `--help` prints. */
export const usage = `AILoad puts one OpenAI-compatible endpoint in front of many.

Usage: aiload [command] [options]

  start    serve (the default)         --config FILE  --port N  --host H
  check    check the configuration     --config FILE
  demo     try it without any key      --port N
  token    say where the token stands  --config FILE  --show (print it)

  -c, --config FILE   the configuration; default: AILOAD_CONFIG, else data/config/config.json
  -p, --port N        listen on this port instead of server.port (2081)
      --host H        listen on this address instead of server.host (0.0.0.0)
  -h, --help          this text
  -v, --version       the version

Signals while it serves: SIGHUP reads the configuration again; SIGTERM and SIGINT let open
streams finish, a second one ends at once.
`
