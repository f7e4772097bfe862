// Many browser clients in one process: node herd.mjs URL COUNT. Each event is a line of JSON.
import { WSRedis } from "../../wsredis/static/wsredis/wsredis.mjs";

const [url, count] = process.argv.slice(2);
const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

for (let who = 0; who < Number(count); who += 1) {
  const ws = new WSRedis(url);
  ws.on("open", () => tell({ who, event: "open" }));
  ws.on("reconnecting", ({ code, delay }) => tell({ who, event: "lost", code, delay }));
  ws.on("message", (text) => tell({ who, event: "message", text }));
}

// Whoever started this goes away, or says that it is enough.
process.stdin.on("close", () => process.exit(0)).resume();
