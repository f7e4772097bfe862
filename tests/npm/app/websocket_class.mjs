// Use the client with the class of the package ws: node websocket_class.mjs URI; prints a message.
import { WSRedis } from "wsredis";
import WebSocket from "ws";

const ws = new WSRedis(process.argv[2], { WebSocket, json: true });
let isOfClass;
ws.on("open", (event) => {
  isOfClass = event.target instanceof WebSocket;
  ws.sendJSON({ id: 7 });
});
ws.on("message", (value) => {
  ws.close();
  console.log(JSON.stringify([value, ws.state, isOfClass]));
});
