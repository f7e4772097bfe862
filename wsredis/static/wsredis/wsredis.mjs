// The client as an ES module; it is implemented in wsredis.js, which defines the global.
import "./wsredis.js";

const { WSRedis } = globalThis;

export { WSRedis, WSRedis as default };
