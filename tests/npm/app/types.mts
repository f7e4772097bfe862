// Uses the types of the package as a module of TypeScript does.
import Default, { WSRedis } from "wsredis";
import { register } from "wsredis/htmx";
import { useWSRedis } from "wsredis/react";

const protocols = async (): Promise<string[]> => ["chat.v1"];
const ws: Default = new WSRedis("/ws/news?subscribe-broadcast", { protocols, json: true });
ws.on("reconnecting", ({ attempt, delay }: WSRedis.Retry) => attempt + delay);
ws.on("error", (error) => console.error(error));
const off: () => void = ws.onJSON((value) => value.id);
const options: WSRedis.Options = { heartbeat: false, ticket: null };
const { state, data, sendJSON } = useWSRedis("/ws/news", { ...options, onMessage: () => {} });
const words: "connecting" | "open" | "reconnecting" | "closed" = state;
sendJSON([words, data]);
register({});
off();
// @ts-expect-error: there is no such option
new WSRedis("/ws/news", { heartBeat: "x" });
// @ts-expect-error: there is no such event
ws.on("opened", () => {});
