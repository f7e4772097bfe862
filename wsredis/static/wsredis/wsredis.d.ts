// Types of the browser client: the global `WSRedis` of wsredis.js.
// wsredis.d.mts gives the same types to `import { WSRedis } from ".../wsredis.mjs"`.
//
// Which close codes end it. The question is always: could the same client, doing the same
// again, be welcome?
//
//   code               meaning                                     come back?
//   1000, 1001         server done, or going away                  yes: the page says when it is over
//   1005, 1006, 1015   no code, no frame, refused handshake, TLS   yes: nobody said no
//   1011, 1012, 1014   server error, restart, bad gateway          yes
//   1013               try again later                             yes, without the quick first retry
//   1002, 1003, 1007   protocol error, kind of data, not UTF-8     no: we would do it again
//   1008, 1009, 1010   policy, too big, missing extension          no: we would do it again
//   3000               unauthorized (IANA)                         yes: the next handshake may carry a login
//   3003               forbidden (IANA)                            no
//   4401               this login has ended                        yes: same reason as 3000
//   4408, 4429         timed out, too many                         yes, without the quick first retry
//   other 4400-4499    the client's fault, as HTTP's 4xx           no
//   everything else    the application's own                       yes
//
// A handshake answered with 403 or 404 looks like 1006 to a script: it is retried, ever slower.

declare namespace WSRedis {
  type State = "connecting" | "open" | "reconnecting" | "closed";

  /** All times are milliseconds. */
  interface Options {
    /** Sub-protocols to offer; none by default. */
    protocols?: string | readonly string[];
    /**
     * Who we are, for wsredis.tickets: an address that answers a POST with a one-time ticket, or a
     * function that gives one. Asked before each attempt; one that fails counts as a failed attempt.
     */
    ticket?: string | URL | (() => string | Promise<string>) | null;
    /** Text the server was configured with as its heartbeat; null (default) sends and expects none. */
    heartbeat?: string | null;
    /** Pause between heartbeats (5000); after three without any traffic the link counts as dead. */
    heartbeatInterval?: number;
    /** Shortest pause before a retry (250). */
    minDelay?: number;
    /** Longest pause before a retry (30000). */
    maxDelay?: number;
    /** Longest wait for a connection attempt (20000). */
    connectTimeout?: number;
    /** Most messages that send() keeps while not open (1000). */
    maxQueue?: number;
    /** How binary messages arrive ("arraybuffer"). */
    binaryType?: BinaryType;
    /** The WebSocket class to use instead of the global one. */
    WebSocket?: (new (url: string, protocols?: string[]) => WebSocket) | null;
  }

  /** Why the connection was lost and when the next attempt is made. */
  interface Retry {
    /** Failures since the last stable connection, from 1. */
    attempt: number;
    /** Milliseconds until the attempt; 0 when it is being made. */
    delay: number;
    code: number;
    reason: string;
  }

  /** How it ended. */
  interface End {
    code: number;
    reason: string;
    /** Queued messages that were never sent. */
    unsent: number;
  }

  interface Listeners {
    /** Connected, for the first time or again. */
    open: (event: Event) => void;
    /** A message that is not the heartbeat; data is a string, ArrayBuffer or Blob. */
    message: (data: any, event: MessageEvent) => void;
    /** The end, for good; emitted once. */
    close: (end: End) => void;
    /** The connection was lost, or an attempt failed, and another one will be made. */
    reconnecting: (retry: Retry) => void;
    state: (state: State, previous: State) => void;
  }

  type Data = string | ArrayBuffer | ArrayBufferView | Blob;
}

/** A websocket that comes back by itself. */
declare class WSRedis {
  /** Open a websocket to `uri`, relative to the page or absolute, and keep it open. */
  constructor(uri: string | URL, options?: WSRedis.Options);

  /** Default options, all of them. */
  static readonly defaults: Readonly<Required<WSRedis.Options>>;

  /** The absolute ws: or wss: address in use. */
  readonly uri: string;
  readonly state: WSRedis.State;
  /** How many messages wait for the connection. */
  readonly queued: number;

  /** Call `listener` at each `event` from now on; the returned function ends that. */
  on<E extends keyof WSRedis.Listeners>(event: E, listener: WSRedis.Listeners[E]): () => void;
  /** Send data, or queue it in order while not open; throws when the queue is full. */
  send(data: WSRedis.Data): void;
  /** Send `value` as JSON text. */
  sendJSON(value: unknown): void;
  /** End the connection for good; no timer and no retry is left. */
  close(code?: number, reason?: string): void;
}
