// A program that closes its client in the state named by argv[3]; it must then end by itself.
import { WSRedis } from "../../wsredis/static/wsredis/wsredis.esm.js";

const [, , uri, state] = process.argv;
const ws = new WSRedis(uri, {
  heartbeat: "--heartbeat--",
  heartbeatInterval: 3_600_000,
  minDelay: 3_600_000,
  maxDelay: 3_600_000,
  connectTimeout: 3_600_000,
});

ws.on("close", () => process.stdout.write("closed\n"));
if (ws.state === state) {
  ws.close();
} else {
  ws.on("state", (now) => now === state && ws.close());
}
