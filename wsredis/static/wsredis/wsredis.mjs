// Generated from wsredis.esm.js by scripts/client.py: do not edit.
export { WSRedis, default } from "./wsredis.esm.js";
