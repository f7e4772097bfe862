// A client that prints its states, one on a line, and the reason of each loss.
import { WSRedis } from "../../wsredis/static/wsredis/wsredis.esm.js";

const ws = new WSRedis(process.argv[2], { minDelay: 5, maxDelay: 40 });

ws.on("state", (state) => process.stdout.write(`${state}\n`));
ws.on("message", (data) => process.stdout.write(`message ${data}\n`));
ws.on("reconnecting", ({ reason, delay }) => delay && process.stdout.write(`lost ${reason}\n`));
// Node waits for the close handshake of a connection whose network is dead.
process.stdin.on("end", () => process.exit()).resume();
