// Generated from wsredis.esm.d.ts by scripts/client.py: do not edit.
// Types of the browser client. From wsredis.esm.d.ts, scripts/client.py generates wsredis.d.ts (for
// the classic script), wsredis.d.cts and wsredis.d.mts.
//
// The close codes after which the client reconnects. It does so if the same client could be
// accepted when it tries again: soon, which is after 0.25 to 0.5 seconds, or later, after 0.25 to 4
// seconds. With each failed attempt the longest pause doubles, up to 30 seconds.
//
//   code               meaning                                     reconnects?
//   1000, 1001         normal closure, going away                  soon: only close() ends the client
//   1005, 1006, 1015   no code, no frame, refused handshake, TLS   soon: not a refusal
//   1011, 1012, 1014   server error, restart, bad gateway          soon
//   1013               try again later                             later
//   1002, 1003, 1007   protocol error, data type, not UTF-8        never: it would fail again
//   1008, 1009, 1010   policy, too big, missing extension          never: it would fail again
//   3000               unauthorized (IANA)                         soon: the next login may be valid
//   3003               forbidden (IANA)                            never
//   4401               the identity has ended                      soon, as for 3000
//   4408, 4429         timed out, too many                         later
//   other 4400-4499    client errors, like HTTP's 4xx              never
//   all others         of the application                          soon
//
// A script sees 1006 for a handshake refused with 403 or 404: it is retried with growing pauses.

export declare namespace WSRedis {
  type State = "connecting" | "open" | "reconnecting" | "closed";

  type Protocols = string | readonly string[];

  /** All times are milliseconds. */
  interface Options {
    /**
     * Subprotocols to offer; none by default. A function is called before each attempt, so that an
     * access token can be a new one; an error is a failed attempt.
     */
    protocols?: Protocols | (() => Protocols | null | Promise<Protocols | null>);
    /**
     * Source of tickets (wsredis.tickets): a URL that answers a POST with a one-time ticket, or a
     * function that returns one. It is called before each attempt; an error is a failed attempt.
     */
    ticket?: string | URL | (() => string | Promise<string>) | null;
    /**
     * Whether to ask the server for heartbeats (true). If it sends them, the connection counts as
     * lost when nothing has arrived for two of its `ping_interval`. null or false for no
     * heartbeat; a text for the option `heartbeat` of the server's configuration.
     */
    heartbeat?: boolean | string | null;
    /** Only for a text: pause between heartbeats (5000); after three without traffic it is lost. */
    heartbeatInterval?: number;
    /** Whether text messages are parsed as JSON for "message" (false). */
    json?: boolean;
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
    /** A message that is not a heartbeat: a string (a value with `json`), ArrayBuffer or Blob. */
    message: (data: any, event: MessageEvent) => void;
    /** Closed for good; emitted once. */
    close: (end: End) => void;
    /** The connection was lost, or an attempt failed, and another one will be made. */
    reconnecting: (retry: Retry) => void;
    state: (state: State, previous: State) => void;
    /** `protocols` or `ticket` failed, or a message is not JSON. */
    error: (error: unknown) => void;
  }

  type Data = string | ArrayBuffer | ArrayBufferView | Blob;
}

/** A websocket that reconnects automatically. */
export declare class WSRedis {
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
  /** Call `listener` for each text message, parsed as JSON; returns as `on` does. */
  onJSON(listener: (value: any, event: MessageEvent) => void): () => void;
  /** Send data, or queue it in order while not open; throws when the queue is full. */
  send(data: WSRedis.Data): void;
  /** Send `value` as JSON text. */
  sendJSON(value: unknown): void;
  /** Close the connection for good; no timer and no retry is left. */
  close(code?: number, reason?: string): void;
}

export default WSRedis;
