// Uses the types of the package as a CommonJS module of TypeScript does.
import wsredis = require("wsredis");

const ws: wsredis.WSRedis = new wsredis.default("/ws/news", { protocols: () => null });
ws.send("hello");
