// Generated from wsredis.esm.d.ts by scripts/client.py: do not edit.
export { WSRedis, default } from "./wsredis.esm.js";
