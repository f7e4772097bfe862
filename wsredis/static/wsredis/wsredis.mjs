// The same client as an ES module: the logic is in wsredis.js, which defines the global.
import "./wsredis.js";

const { WSRedis } = globalThis;

export { WSRedis, WSRedis as default };
