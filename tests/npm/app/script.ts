// Uses the types of the classic script, a global.
/// <reference types="wsredis/wsredis.js" />
const ws: WSRedis = new WSRedis("/ws/news");
const state: WSRedis.State = ws.state;
ws.send(state);
