// Types of wsredis.mjs: the global class of wsredis.d.ts under its two module names.
/// <reference path="./wsredis.d.ts" />

declare const Client: typeof WSRedis;
type Client = WSRedis;

export { Client as WSRedis, Client as default };
