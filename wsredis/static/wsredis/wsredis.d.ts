// Types of the browser client: the global `WSRedis` of wsredis.js.
// wsredis.d.mts gives the same types to `import { WSRedis } from ".../wsredis.mjs"`.

declare namespace WSRedis {
  type State = "connecting" | "open" | "reconnecting" | "closed";

  /** All times are milliseconds. */
  interface Options {
    /** Sub-protocols to offer; none by default. */
    protocols?: string | readonly string[];
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
