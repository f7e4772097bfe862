// Types of wsredis.react.js: the hook for React 18 and newer.
import { WSRedis } from "./wsredis.esm.js";

/** The options of the client, and listeners. */
export interface Options extends WSRedis.Options {
  /** Called for each message; without it, `data` is the last message. */
  onMessage?: WSRedis.Listeners["message"];
  onOpen?: WSRedis.Listeners["open"];
  onClose?: WSRedis.Listeners["close"];
  onReconnecting?: WSRedis.Listeners["reconnecting"];
  onError?: WSRedis.Listeners["error"];
}

export interface Connection {
  state: WSRedis.State;
  /** The last message, undefined before the first one. */
  data: any;
  /** Send data, or queue it in order while not open; throws when the queue is full. */
  send(data: WSRedis.Data): void;
  /** Send `value` as JSON text. */
  sendJSON(value: unknown): void;
}

/** Open a websocket for as long as the component is mounted; none if `uri` is null. */
export function useWSRedis(uri: string | null, options?: Options): Connection;
