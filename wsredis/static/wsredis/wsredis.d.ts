// Types of the browser client: the global `WSRedis` of wsredis.js.
// wsredis.d.mts gives the same types to `import { WSRedis } from ".../wsredis.mjs"`.
//
// The close codes after which the client reconnects. It does so if the same client could be
// accepted when it tries again.
//
//   code               meaning                                     reconnects?
//   1000, 1001         normal closure, going away                  yes: only close() ends the client
//   1005, 1006, 1015   no code, no frame, refused handshake, TLS   yes: not a refusal
//   1011, 1012, 1014   server error, restart, bad gateway          yes
//   1013               try again later                             yes, without the quick first retry
//   1002, 1003, 1007   protocol error, data type, not UTF-8        no: it would fail again
//   1008, 1009, 1010   policy, too big, missing extension          no: it would fail again
//   3000               unauthorized (IANA)                         yes: the next login may be valid
//   3003               forbidden (IANA)                            no
//   4401               the identity has ended                      yes, as for 3000
//   4408, 4429         timed out, too many                         yes, without the quick first retry
//   other 4400-4499    client errors, like HTTP's 4xx              no
//   all others         of the application                          yes
//
// A script sees 1006 for a handshake refused with 403 or 404: it is retried with growing pauses.

declare namespace WSRedis {
  type State = "connecting" | "open" | "reconnecting" | "closed";

  /** All times are milliseconds. */
  interface Options {
    /** Subprotocols to offer; none by default. */
    protocols?: string | readonly string[];
    /**
     * Source of tickets (wsredis.tickets): a URL that answers a POST with a one-time ticket, or a
     * function that returns one. It is called before each attempt; an error is a failed attempt.
     */
    ticket?: string | URL | (() => string | Promise<string>) | null;
    /** Heartbeat text of the server's configuration; null (default) for no heartbeat. */
    heartbeat?: string | null;
    /** Pause between heartbeats (5000); after three without any traffic the link counts as dead. */
    heartbeatInterval?: number;
    /** Shortest pause before a retry (250). */
    minDelay?: number;
    /** Longest pause before a retry (30000). */
    maxDelay?: number;
    /** Longest wait for a connection attempt (20000). */
    connectTimeout?: number;
    /** Maximum messages that send() queues while not open (1000). */
    maxQueue?: number;
    /** The type of received binary messages ("arraybuffer"). */
    binaryType?: BinaryType;
    /** The WebSocket class to use instead of the global one. */
    WebSocket?: (new (url: string, protocols?: string[]) => WebSocket) | null;
  }

  /** Why the connection was lost and when the next attempt is made. */
  interface Retry {
    /** Failures since the last stable connection, from 1. */
    attempt: number;
    /** Milliseconds until the next attempt; 0 if it is being made. */
    delay: number;
    code: number;
    reason: string;
  }

  /** Why the connection was closed for good. */
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
    /** Closed for good; emitted once. */
    close: (end: End) => void;
    /** The connection was lost, or an attempt failed, and another one will be made. */
    reconnecting: (retry: Retry) => void;
    state: (state: State, previous: State) => void;
  }

  type Data = string | ArrayBuffer | ArrayBufferView | Blob;
}

/** A websocket that reconnects automatically. */
declare class WSRedis {
  /** Open a websocket to `uri`, relative to the page or absolute, and keep it open. */
  constructor(uri: string | URL, options?: WSRedis.Options);

  /** The default values of all options. */
  static readonly defaults: Readonly<Required<WSRedis.Options>>;

  /** The absolute ws: or wss: address in use. */
  readonly uri: string;
  readonly state: WSRedis.State;
  /** The number of queued messages. */
  readonly queued: number;

  /** Call `listener` for each `event`; the returned function removes the listener. */
  on<E extends keyof WSRedis.Listeners>(event: E, listener: WSRedis.Listeners[E]): () => void;
  /** Send data, or queue it in order while not open; throws when the queue is full. */
  send(data: WSRedis.Data): void;
  /** Send `value` as JSON text. */
  sendJSON(value: unknown): void;
  /** Close the connection for good; no timer and no retry is left. */
  close(code?: number, reason?: string): void;
}
