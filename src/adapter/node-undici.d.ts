/** The client alone: the package's index loads its fetch, its web sockets and its mocks too, half of the time of a start. */
declare module 'undici/lib/dispatcher/client.js' {
  import { Client } from 'undici'
  export default Client
}
